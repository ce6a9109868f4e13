//! Documents: the form in which Cloud takes and gives what people write, checked, made of text, and read as text.
//!
//! What is stored of a comment is a document where it came as one, and a string where it came as wiki markup. Each
//! flavour is given its own form whatever came.

use serde_json::{Value, json};

/// How deep a document may nest.
const DEEPEST: usize = 32;

/// Says what is wrong with a document.
pub(super) fn check(document: &Value) -> Result<(), String> {
    if document["type"] != "doc" || document["version"] != 1 {
        return Err("a document has the type doc and the version 1".into());
    }
    only(document, &["type", "version", "content"])?;
    let blocks = document["content"].as_array().ok_or("a document has a content")?;
    blocks.iter().try_for_each(|block| node(block, BLOCKS, 1))
}

/// Makes a document of text: a paragraph for each that an empty line ends, a hard break for every other line.
pub(super) fn document(text: &str) -> Value {
    let line = |line: &str| (!line.is_empty()).then(|| json!({ "type": "text", "text": line }));
    let paragraph = |lines: &str| {
        let mut content = Vec::new();
        for (at, text) in lines.trim_matches('\n').lines().enumerate() {
            content.extend((at > 0).then(|| json!({ "type": "hardBreak" })));
            content.extend(line(text));
        }
        json!({ "type": "paragraph", "content": content })
    };
    let paragraphs = text.split("\n\n").filter(|lines| !lines.trim().is_empty()).map(paragraph);
    json!({ "type": "doc", "version": 1, "content": paragraphs.collect::<Vec<_>>() })
}

/// What was stored, as a document.
pub(super) fn as_document(body: &Value) -> Value {
    body.as_str().map_or_else(|| body.clone(), document)
}

/// What was stored, as text without any form.
pub(super) fn as_text(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        body => {
            let mut text = String::new();
            write(body, &mut text);
            text.trim_end().to_owned()
        }
    }
}

const BLOCKS: &[&str] = &[
    "paragraph",
    "heading",
    "codeBlock",
    "blockquote",
    "bulletList",
    "orderedList",
    "panel",
    "rule",
    "table",
    "mediaSingle",
    "mediaGroup",
    "expand",
];
const INLINES: &[&str] = &["text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"];
const MARKS: &[&str] = &["code", "em", "link", "strike", "strong", "subsup", "textColor", "underline"];

/// The kinds of node that may stand in a node of this kind; none where it has no content.
fn inside(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "paragraph" | "heading" => INLINES,
        "codeBlock" => &["text"],
        "bulletList" | "orderedList" => &["listItem"],
        "listItem" => &["paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"],
        "blockquote" => &["paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"],
        "panel" => &["paragraph", "heading", "bulletList", "orderedList", "codeBlock", "rule"],
        "expand" | "tableCell" | "tableHeader" => BLOCKS,
        "table" => &["tableRow"],
        "tableRow" => &["tableCell", "tableHeader"],
        "mediaSingle" | "mediaGroup" => &["media"],
        _ => return None,
    })
}

fn node(node: &Value, allowed: &[&str], depth: usize) -> Result<(), String> {
    let kind = node["type"].as_str().ok_or("a node has a type")?;
    if !allowed.contains(&kind) {
        return Err(format!("a {kind} cannot stand there"));
    }
    if depth > DEEPEST {
        return Err("the document nests too deep".into());
    }
    only(node, &["type", "content", "text", "marks", "attrs"])?;
    if kind == "text" {
        return text(node);
    }
    let children = match &node["content"] {
        Value::Null => &[],
        Value::Array(children) => children.as_slice(),
        _ => return Err(format!("the content of a {kind} is a list")),
    };
    match inside(kind) {
        Some(allowed) => children.iter().try_for_each(|child| self::node(child, allowed, depth + 1)),
        None if children.is_empty() => Ok(()),
        None => Err(format!("a {kind} has no content")),
    }
}

fn text(node: &Value) -> Result<(), String> {
    if node["text"].as_str().is_none_or(str::is_empty) {
        return Err("a text is not empty".into());
    }
    let mut marks = node["marks"].as_array().into_iter().flatten();
    match marks.find(|mark| !mark["type"].as_str().is_some_and(|kind| MARKS.contains(&kind))) {
        Some(unknown) => Err(format!("there is no mark {}", unknown["type"])),
        None => Ok(()),
    }
}

fn only(node: &Value, fields: &[&str]) -> Result<(), String> {
    let mut names = node.as_object().into_iter().flatten().map(|(name, _)| name);
    match names.find(|name| !fields.contains(&name.as_str())) {
        Some(unknown) => Err(format!("a node has no {unknown}")),
        None => Ok(()),
    }
}

/// Writes the text of a node; what is a block of its own ends with a line.
fn write(node: &Value, into: &mut String) {
    match node["type"].as_str().unwrap_or_default() {
        "text" => into.push_str(node["text"].as_str().unwrap_or_default()),
        "hardBreak" => into.push('\n'),
        "mention" | "emoji" | "status" => into.push_str(node["attrs"]["text"].as_str().unwrap_or_default()),
        "inlineCard" => into.push_str(node["attrs"]["url"].as_str().unwrap_or_default()),
        kind => {
            node["content"].as_array().into_iter().flatten().for_each(|child| write(child, into));
            if matches!(kind, "paragraph" | "heading" | "codeBlock" | "rule") {
                into.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_document_that_is_fine_and_comes_back() {
        for text in ["one", "one\ntwo", "one\n\ntwo", "a `b` <c>\n\n\n\nd"] {
            let document = document(text);
            assert_eq!(check(&document), Ok(()), "{text}");
            let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(as_text(&document).lines().collect::<Vec<_>>(), lines, "{text}");
        }
    }

    #[track_caller]
    fn check_refused(content: Value, complaint: &str) {
        let document = json!({ "type": "doc", "version": 1, "content": content });
        let found = check(&document).expect_err("something is wrong");
        assert!(found.contains(complaint), "{found}");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert!(check(&json!("text")).is_err());
        assert!(check(&json!({ "type": "doc", "version": 2, "content": [] })).is_err());
        check_refused(json!([{ "type": "text", "text": "a" }]), "a text cannot stand there");
        check_refused(json!([{ "type": "paragraph", "content": [{ "type": "text", "text": "" }] }]), "not empty");
        check_refused(json!([{ "type": "paragraph", "contents": [] }]), "no contents");
        check_refused(json!([{ "type": "paragraph", "content": [{ "type": "text" }] }]), "not empty");
        let marked = json!([{ "type": "text", "text": "a", "marks": [{ "type": "loud" }] }]);
        check_refused(json!([{ "type": "paragraph", "content": marked }]), "no mark");
        let code = json!([{ "type": "codeBlock", "content": [{ "type": "hardBreak" }] }]);
        check_refused(code, "a hardBreak cannot stand there");
    }
}
