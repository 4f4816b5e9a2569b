//! Splitting what is sent to a queue into pieces that SQS accepts.

/// Maximum bytes of one message, and of all messages in one request.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Splits items, in order, into chunks of at most `most` items and [`MAX_MESSAGE_BYTES`]. `length` is the bytes that an item takes,
/// and `overhead` the bytes that a chunk takes in addition. An item that is too large by itself becomes a chunk of its own.
pub(super) fn chunks<T>(items: &[T], most: usize, overhead: usize, length: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, overhead);
    for (index, item) in items.iter().enumerate() {
        let length = length(item);
        if index - start == most || bytes + length > MAX_MESSAGE_BYTES {
            chunks.push(&items[start..index]);
            (start, bytes) = (index, overhead);
        }
        bytes += length;
    }
    chunks.push(&items[start..]);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}
