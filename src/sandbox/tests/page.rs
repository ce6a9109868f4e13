//! What a person sees, and what cannot be done to them.

use super::*;

#[tokio::test]
async fn a_page_shows_what_is_held_and_escapes_it() {
    let bench = Bench::new().await;
    assert!(bench.page("/browse/DEMO-1").await.contains("Nothing yet"));
    bench.store(body(1, [commit("c1", 1, "DEMO-1 <script>alert(1)</script>")])).await;
    let page = bench.page("/browse/DEMO-1").await;
    assert!(page.contains("DEMO-1 &lt;script&gt;alert(1)") && !page.contains("<script"));
    assert!(bench.page("/").await.contains("A &lt;summary&gt;"));
    assert!(bench.page("/browse/NO-1").await.contains("No such issue"));
    let answer = bench.response("GET", "/", "text/plain", Vec::new()).await;
    let policy = answer.headers()["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"));
}

#[tokio::test]
async fn the_page_of_an_issue_tells_what_happened_and_by_whose_doing() {
    let bench = Bench::new().await;
    bench.pull("projects", json!({ "key": "OTHER", "type": "service_desk" })).await;
    bench.pull("issues", json!({ "key": "DEMO-1", "remaining_seconds": 7_200 })).await;
    let mut orders = body(1, [commit("c0ffee12", 1, "DEMO-1 #comment by itself #time 1h #start #fly")]);
    orders["preventTransitions"] = json!(false);
    bench.store(orders).await;
    let internal = json!([{ "key": "sd.public.comment", "value": { "internal": true } }]);
    let ada = bench.cloud("ada");
    ada.post("/issue/DEMO-1/comment", json!({ "body": adf("by hand"), "properties": internal })).await;
    ada.post("/issue/DEMO-1/transitions", json!({ "transition": { "id": "31" } })).await;
    bench.pull("issues/DEMO-1/move", json!({ "to": "OTHER-1" })).await;
    let page = bench.page("/browse/DEMO-1").await;
    for told in [
        "by itself",
        "by hand",
        "Internal",
        "sd.public.comment",
        "1h logged",
        "1h left",
        "Not done: ",
        "Close Issue",
        "Resolution",
        "OTHER-1",
        "Jira carried out a Smart Commit in c0ffee12",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[tokio::test]
async fn nothing_that_was_written_leads_anywhere() {
    let bench = Bench::new().await;
    let link = json!([{ "type": "link", "attrs": { "href": "https://evil.example/1" } }]);
    let document = json!({ "type": "doc", "version": 1, "content": [
        { "type": "paragraph", "content": [{ "type": "text", "text": "here", "marks": link }] },
        { "type": "paragraph", "content": [{ "type": "inlineCard", "attrs": { "url": "https://evil.example/2" } }] },
    ] });
    let posted = bench.cloud("ada").post("/issue/DEMO-1/comment", json!({ "body": document })).await;
    assert_eq!(posted.0, 201);
    let wiki = json!({ "body": "[here|https://evil.example/3] <a href='https://evil.example/4'>" });
    assert_eq!(bench.data_center("ada").post("/issue/DEMO-1/comment", wiki).await.0, 201);
    let page = bench.page("/browse/DEMO-1").await;
    assert!(page.contains("https://evil.example/3") && !page.contains("evil.example/1"));
    assert!(!page.contains("href=\"https://evil.example") && !page.contains("<a href='"), "{page}");
}
