//! Lines of ours at the end of a configuration of Git's that is somebody else's: put in, and taken out byte for byte.

/// Ends a line that had no end.
const UNENDED: &str = "\n# git-jira-agent: the line above had no end\n";
const END: &str = "# git-jira-agent: end\n";

/// Our lines: the first of them tells them from all others.
pub(super) struct Block {
    pub(super) begin: &'static str,
}

impl Block {
    /// Puts these lines at the end, in place of those that are there; what has them already stays as it is.
    pub(super) fn put(&self, bytes: &[u8], lines: &str) -> Vec<u8> {
        let block = [self.begin, lines, END].concat();
        if memchr::memmem::find(bytes, block.as_bytes()).is_some() {
            return bytes.to_vec();
        }
        let mut text = self.without(bytes);
        // A line that has no end gets one, which goes again with what follows it.
        if text.last().is_some_and(|last| *last != b'\n') {
            text.extend_from_slice(UNENDED.as_bytes());
        }
        text.extend_from_slice(block.as_bytes());
        text
    }

    /// The configuration without these lines, wherever it was when they were written.
    pub(super) fn without(&self, bytes: &[u8]) -> Vec<u8> {
        let find = |text: &str| memchr::memmem::find(bytes, text.as_bytes());
        let (Some(begin), Some(end)) = (find(self.begin), find(END)) else { return bytes.to_vec() };
        let after = &bytes[(end + END.len()).max(begin)..];
        match bytes[..begin].strip_suffix(UNENDED.as_bytes()) {
            Some(before) if after.is_empty() => before.to_vec(),
            Some(before) => [before, b"\n", after].concat(),
            None => [&bytes[..begin], after].concat(),
        }
    }
}

/// A section that includes a file where a condition holds.
pub(super) fn include_if(condition: &str, path: &str) -> String {
    format!("[includeIf {}]\n\tpath = {path}\n", quoted(condition))
}

/// A value as Git's configuration has it, whatever is in it but the end of a line.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
