//! Documents in Atlassian's format, made of nothing but paragraphs, text and line breaks: nothing a commit says can be a
//! mention, a card, an image or a mark.

use serde_json::{Value, json};

use super::wording::{LONGEST, Saying, shortened_by};

/// Writes a document; what is empty becomes one without content.
pub fn document(saying: &Saying) -> Value {
    let last = saying.last.as_deref().map(|last| shortened_by(last, LONGEST / 8, cost));
    // Some count the document and not its text, so it is the document that has to be short enough.
    let used = FRAME + last.as_deref().map_or(0, |last| last.chars().map(cost).sum::<usize>());
    let text = shortened_by(&saying.text, LONGEST - used, cost);
    let paragraphs = text.split("\n\n").chain(last.as_deref()).filter_map(paragraph);
    json!({ "type": "doc", "version": 1, "content": paragraphs.collect::<Vec<_>>() })
}

/// What a document takes besides its text: its own frame, and that of its first and its last paragraph.
const FRAME: usize = 300;

/// What a character takes in a document, in UTF-16 units, or a little more.
fn cost(c: char) -> usize {
    match c {
        // It ends a text and begins another, or a paragraph.
        '\n' => 80,
        '"' | '\\' => 2,
        '\t' => 6,
        c => c.len_utf16(),
    }
}

fn paragraph(text: &str) -> Option<Value> {
    let lines: Vec<&str> = text.trim_matches('\n').split('\n').collect();
    let mut content = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        content.extend((at > 0).then(|| json!({ "type": "hardBreak" })));
        // A text without text is none.
        content.extend((!line.is_empty()).then(|| json!({ "type": "text", "text": line })));
    }
    (!content.is_empty()).then(|| json!({ "type": "paragraph", "content": content }))
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{self, SOURCE};
    use super::*;

    /// Checks a document against all that may be in one, and gives its text.
    #[track_caller]
    fn check(document: &Value) -> String {
        let fields = |node: &Value| node.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
        assert_eq!(
            (fields(document), &document["type"], &document["version"]),
            ("content type version".into(), &json!("doc"), &json!(1))
        );
        let mut text = Vec::new();
        for block in document["content"].as_array().unwrap() {
            assert_eq!((fields(block), &block["type"]), ("content type".to_owned(), &json!("paragraph")));
            let nodes = block["content"].as_array().unwrap();
            assert!(!nodes.is_empty());
            let said = nodes.iter().map(|node| match (fields(node).as_str(), node["type"].as_str().unwrap()) {
                ("type", "hardBreak") => "\n",
                ("text type", "text") => node["text"].as_str().filter(|text| !text.is_empty()).unwrap(),
                found => panic!("{found:?}"),
            });
            text.push(said.collect::<String>());
        }
        assert!(document.to_string().encode_utf16().count() <= LONGEST);
        text.join("\n\n")
    }

    #[test]
    fn s17_whatever_a_message_holds_a_document_is_valid_and_says_the_same() {
        for message in corpus::messages() {
            let saying = Saying::new(&message, SOURCE);
            let said = check(&document(&saying));
            let plain =
                |text: &str| text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let expected = format!("{}\n\n{}", saying.text, saying.last.as_deref().unwrap());
            assert_eq!(plain(&said), plain(&expected), "{message:?}");
        }
    }

    #[test]
    fn s17_what_is_too_long_is_cut_below_the_limit() {
        for piece in ["x", "😀", "\"", "\\", "a\n", "\n", "\t.", "é", "\u{fffd}", "\n\n\n.\n\n"] {
            let saying = Saying::new(&piece.repeat(70_000), SOURCE);
            let said = check(&document(&saying));
            assert!(said.ends_with(saying.last.as_deref().unwrap()), "{piece:?}");
            assert!(saying.text.is_empty() || said.contains('…'), "{piece:?}");
        }
    }

    #[test]
    fn nothing_said_is_a_document_without_content() {
        assert_eq!(check(&document(&Saying { text: String::new(), last: None })), "");
        assert_eq!(check(&document(&Saying { text: "\n\n\n".to_owned(), last: None })), "");
    }
}
