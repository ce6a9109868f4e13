//! What arrives at the socket and lies in the spool is written by others: any bytes give an event or an error.
#![no_main]

use git_jira_agent::event::Event;
use git_jira_agent::intake::frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = frame::read(bytes)
        && let Ok(event) = Event::decode(&body)
    {
        assert_eq!(Event::decode(&event.encode()).ok(), Some(event));
    }
    // The checksum keeps most inputs out; what is behind it is reached directly.
    if let Ok(event) = Event::decode(bytes) {
        assert_eq!(Event::decode(&event.encode()).ok(), Some(event));
    }
});
