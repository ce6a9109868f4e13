//! The small pieces that pages are made of.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            rect width="24" height="24" rx="6" fill="currentColor" {}
            path d="M7 6v8a4 4 0 0 0 4 4h1M7 10h6a4 4 0 0 1 4 4v0" fill="none" stroke="white" stroke-width="2" {}
            circle cx="17" cy="15" r="1.6" fill="white" {}
        }
    }
}

pub(super) fn nothing(title: &str, words: Markup) -> Markup {
    html! { div.nothing { p.title { (title) } p.quiet { (words) } } }
}

/// Links only what a browser opens harmlessly: a sender may call anything a URL.
pub(super) fn link(url: &str, words: &str) -> Markup {
    html! { @if is_web(url) { a href=(url) rel="noreferrer" { (words) } } @else { (words) } }
}

pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// A word in a frame, in the style of a mood.
pub(super) fn lozenge(word: &str, mood: &str) -> Markup {
    html! { span.lozenge.(mood) { (word) } }
}

pub(super) fn avatar(name: &str) -> Markup {
    let initials = name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect::<String>();
    let hue = name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 6;
    html! { span class={ "avatar hue-" (hue) } aria-hidden="true" { (initials.to_uppercase()) } }
}

pub(super) fn count(number: usize, one: &str, many: &str) -> Markup {
    html! { span.count { (number) " " (if number == 1 { one } else { many }) } }
}

pub(super) fn when(moment: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(moment) title=(moment) { (ago(moment, now)) } }
}

fn ago(moment: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - moment.as_second();
    match seconds {
        ..45 => "just now".into(),
        45..5_400 => format!("{} min ago", (seconds + 30) / 60),
        5_400..129_600 => format!("{} h ago", (seconds + 1_800) / 3_600),
        129_600..2_592_000 => format!("{} days ago", (seconds + 43_200) / 86_400),
        _ => moment.strftime("%e %b %Y").to_string().trim().to_owned(),
    }
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// As much of a commit's id as people read.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(earlier: i64, expected: &str) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let moment = Timestamp::from_second(1_800_000_000 - earlier).unwrap();
        assert_eq!(ago(moment, now), expected);
    }

    #[test]
    fn a_moment_is_told_in_the_unit_a_person_would_use() {
        check(-5, "just now");
        check(44, "just now");
        check(60, "1 min ago");
        check(3 * 3_600, "3 h ago");
        check(3 * 86_400, "3 days ago");
        check(60 * 86_400, "16 Nov 2026");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert_eq!(link("javascript:alert(1)", "<b>").into_string(), "&lt;b&gt;");
        assert!(link("https://git.example/\"x", "a").into_string().contains("href=\"https://git.example/&quot;x\""));
    }
}
