//! XML as a stream of elements and texts, with a limit for each of them and for their depth.

use std::borrow::Cow;
use std::io::BufReader;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::fault::broken;
use super::limits::MAX_CELL_BYTES;
use super::part::Part;
use crate::fault::FileFault;

/// Elements within each other. The reader keeps the names of all that are open.
const MAX_DEPTH: usize = 256;

/// A part of a workbook.
pub(super) struct Xml<'a> {
    reader: quick_xml::Reader<BufReader<Part<'a>>>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<'a> Xml<'a> {
    pub(super) fn new(part: BufReader<Part<'a>>) -> Self {
        let mut reader = quick_xml::Reader::from_reader(part);
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            depth: 0,
        }
    }

    /// The next element or text. An empty element is a start and an end. The end of the file is a fault, because every element is read up to its
    /// end tag.
    pub(super) fn next(&mut self) -> Result<Event<'_>, FileFault> {
        self.read().map(|(event, _)| event)
    }

    /// The next element or text within the element at this depth; `None` at its end.
    pub(super) fn next_within(&mut self, depth: usize) -> Result<Option<Event<'_>>, FileFault> {
        let (event, now) = self.read()?;
        Ok((now >= depth).then_some(event))
    }

    /// Skips the rest of the element whose start was read last.
    pub(super) fn skip(&mut self) -> Result<(), FileFault> {
        let depth = self.depth;
        while self.next_within(depth)?.is_some() {}
        Ok(())
    }

    /// The next element or text, and how many elements are open after it.
    fn read(&mut self) -> Result<(Event<'_>, usize), FileFault> {
        self.buffer.clear();
        self.reader.get_mut().get_mut().begin_event();
        let event = self.reader.read_event_into(&mut self.buffer).map_err(fault)?;
        match &event {
            Event::Start(_) => self.depth += 1,
            // The reader has checked that an element was open.
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Eof => return Err(broken("a part of it ends too early")),
            _ => {}
        }
        match self.depth <= MAX_DEPTH {
            true => Ok((event, self.depth)),
            false => Err(broken("elements are nested too deeply")),
        }
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }
}

/// The value of an attribute, by its name with its prefix.
pub(super) fn attribute<'a>(start: &'a BytesStart<'_>, name: &str) -> Result<Option<Cow<'a, str>>, FileFault> {
    find(start, |found, _| found == name)
}

/// The value of an attribute, by its name without its prefix.
pub(super) fn local_attribute<'a>(start: &'a BytesStart<'_>, name: &str) -> Result<Option<Cow<'a, str>>, FileFault> {
    find(start, |_, found| found == name)
}

fn find<'a>(
    start: &'a BytesStart<'_>,
    is_wanted: impl Fn(&str, &str) -> bool,
) -> Result<Option<Cow<'a, str>>, FileFault> {
    let mut attributes = start.attributes();
    // Without the check for duplicates, which takes quadratic time.
    for attribute in attributes.with_checks(false) {
        let attribute = attribute.map_err(broken)?;
        if is_wanted(attribute.key.as_ref(), attribute.key.local_name().as_ref()) {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            return value.map(Some).map_err(broken);
        }
    }
    Ok(None)
}

/// The character that a reference such as `&amp;` or `&#10;` means. References to what a document declares itself are not followed, so they
/// cannot make a small text large.
pub(super) fn add_reference(reference: &BytesRef<'_>, text: &mut String) -> Result<(), FileFault> {
    if let Some(character) = reference.resolve_char_ref().map_err(broken)? {
        text.push(character);
        return Ok(());
    }
    let known = resolve_xml_entity(reference).ok_or_else(|| broken("a text has an unknown entity"))?;
    text.push_str(known);
    Ok(())
}

/// Refuses a text that is longer than any cell.
pub(super) fn check_length(text: &str) -> Result<(), FileFault> {
    match text.len() <= MAX_CELL_BYTES {
        true => Ok(()),
        false => Err(broken("a text is longer than 1 MiB")),
    }
}

fn fault(error: quick_xml::Error) -> FileFault {
    if let quick_xml::Error::Io(error) = &error
        && let Some(fault) = error.get_ref().and_then(|cause| cause.downcast_ref::<FileFault>())
    {
        return fault.clone();
    }
    broken(error)
}
