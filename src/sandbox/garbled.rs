//! Bodies that are wrong on purpose: broken off, dripping, vast, or no answer at all.

use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::Response;
use futures_util::{Stream, stream};

/// What one member of a gzip bomb unpacks to.
const BOMB: usize = 8 << 20;

pub(super) async fn truncated(answer: Response, bytes: usize) -> Response {
    let (mut parts, whole) = whole(answer).await;
    // The length promises the whole body, so the caller can tell that it was broken off.
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    let chunks = stream::unfold(Some(whole.slice(..bytes.min(whole.len()))), |left| async {
        match left {
            Some(chunk) if !chunk.is_empty() => Some((Ok(chunk), Some(Bytes::new()))),
            Some(_) => {
                // The server writes out what it has when a body makes it wait, and only then may the connection break.
                tokio::task::yield_now().await;
                Some((Err(broken()), None))
            }
            None => None,
        }
    });
    Response::from_parts(parts, Body::from_stream(chunks))
}

pub(super) async fn trickling(answer: Response, bytes_per_second: u32) -> Response {
    let (mut parts, whole) = whole(answer).await;
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    let pause = Duration::from_secs(1) / bytes_per_second.max(1);
    let drops = stream::unfold(whole, move |mut left| async move {
        let drop = (!left.is_empty()).then(|| left.split_to(1))?;
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(drop), left))
    });
    Response::from_parts(parts, Body::from_stream(drops))
}

async fn whole(answer: Response) -> (axum::http::response::Parts, Bytes) {
    let (parts, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    (parts, bytes)
}

pub(super) fn filler(bytes: usize) -> impl Stream<Item = Result<Bytes, Infallible>> {
    const CHUNK: usize = 64 << 10;
    stream::unfold(bytes, |left| async move {
        let now = left.min(CHUNK);
        (now > 0).then(|| (Ok(Bytes::from(vec![b' '; now])), left - now))
    })
}

pub(super) fn bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; BOMB]).and_then(|()| packer.finish()).expect("memory takes every write")
}

pub(super) fn noise() -> Vec<u8> {
    (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) fn broken() -> std::io::Error {
    std::io::ErrorKind::ConnectionAborted.into()
}
