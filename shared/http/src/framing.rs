//! Where the events are in a request, for pointers to their fields.

use annals_domain::event::{EventFault, FieldFault};

/// How a request holds its events: as one event, or as a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The request is the event.
    Single,
    /// The request is `{"events": […]}`.
    Batch,
}

impl Framing {
    /// JSON pointer to the event with this index: `""` or `/events/3`.
    pub fn pointer(self, member: usize) -> String {
        match self {
            Self::Single => String::new(),
            Self::Batch => format!("/events/{member}"),
        }
    }

    /// The fault with its pointer below the event's.
    pub fn fault(self, found: EventFault) -> FieldFault {
        let pointer = format!("{}{}", self.pointer(found.member), found.fault.pointer);
        FieldFault { pointer, ..found.fault }
    }
}
