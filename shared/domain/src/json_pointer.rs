//! JSON pointers (RFC 6901). Within a name `~` is written `~0`, and `/` is written `~1`.

/// A name as a pointer has it.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The name that a part of a pointer means.
pub fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The pointer to a member of what `parent` points to: `("/data", "a/b")` is `/data/a~1b`.
pub fn child(parent: &str, name: &str) -> String {
    format!("{parent}/{}", escape(name))
}

/// The pointer with these names: `a` and `b/c` make `/a/b~1c`.
pub fn join(names: &[&str]) -> String {
    names.iter().map(|name| child("", name)).collect()
}

/// The name of a pointer's first part, and the rest of the pointer: `/a~1b/c` is (`a/b`, `/c`). `None` for the empty pointer.
pub fn split_first(pointer: &str) -> Option<(String, &str)> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.find('/').map_or((path, ""), |slash| path.split_at(slash));
    Some((unescape(first), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_pointer() {
        for name in ["", "a", "a/b", "~", "~1", "/~0~1/"] {
            assert_eq!(split_first(&child("", name)), Some((name.to_owned(), "")));
        }
        assert_eq!(join(&["a", "b/c~1", ""]), "/a/b~1c~01/");
        assert_eq!(split_first("/a~1b/c~0/d"), Some(("a/b".to_owned(), "/c~0/d")));
        assert_eq!(split_first(""), None);
    }
}
