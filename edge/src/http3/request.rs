//! One request over HTTP/3, from its stream to the last byte of its answer.

use std::sync::Arc;
use std::time::SystemTime;

use aqueduct_common::event::Report;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{ALT_SVC, DATE};
use http::{HeaderValue, Method, Response};

use super::priority;
use super::room::{Place, Room};
use super::transport::{Exchange, Lane, Transport, var};
use crate::body::Body;
use crate::conn::Conn;
use crate::refuse::Refusal;
use crate::report::Posted;
use crate::site::Site;
use crate::tally::Shed;

/// A frame's type (RFC 9114, section 7.2.1).
const DATA: u8 = 0;

/// Answers it. Whatever is held for it is let go when the client gives it up.
pub(super) async fn answer(
    resolver: RequestResolver<Transport, Bytes>,
    lane: Lane,
    conn: Arc<Conn>,
    site: Arc<Site>,
    offer: Option<HeaderValue>,
    room: Arc<Room>,
) {
    let read = tokio::time::timeout(site.limits.head, resolver.resolve_request()).await;
    let (request, mut exchange) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return refuse(&error, &lane, &site).await,
        Err(_) => {
            site.tally.shed(Shed::SlowHead);
            return lane.reset(Code::H3_REQUEST_CANCELLED);
        }
    };
    let Some(mut stream) = lane.stream() else { return };
    let (parts, ()) = request.into_parts();
    let urgency = priority::urgency(&parts.headers);
    let gone = stream.stopped();
    let answering = async {
        if parts.method == Method::POST {
            let posted = tokio::time::timeout(site.limits.head, posted(&mut exchange)).await;
            return site.serve_posted(&conn, &parts, posted.unwrap_or(Err(Refusal::NoBody)));
        }
        site.serve(&conn, parts).await
    };
    let answer = tokio::select! {
        biased;
        answer = answering => answer,
        _ = gone => return,
    };
    let (mut head, body) = answer.into_parts();
    head.headers.insert(DATE, date());
    if let Some(offer) = offer {
        head.headers.insert(ALT_SVC, offer);
    }
    // It fails where the client takes no head of this length.
    if exchange.send_response(Response::from_parts(head, ())).await.is_err() {
        let _ = stream.reset(var(Code::H3_INTERNAL_ERROR.value()));
        return;
    }
    // It fails where the client is gone.
    let priority = priority::of(urgency, body.class());
    let _ = stream.set_priority(priority);
    let room = priority::is_bulk(body.class()).then_some((room, priority));
    let _ = deliver(stream, lane.head(), body, room).await;
    end(exchange).await;
}

/// The body of a report.
async fn posted(exchange: &mut RequestStream<Exchange, Bytes>) -> Posted {
    let mut body = BytesMut::new();
    while let Some(piece) = exchange.recv_data().await.map_err(|_| Refusal::NoBody)? {
        if body.len() + piece.remaining() > Report::MOST {
            return Err(Refusal::BodySize);
        }
        body.put(piece);
    }
    Ok(body.freeze())
}

/// Nothing else here takes a body. By now a request without one has come to its end; one that goes on is told to stop, and not
/// before it has its answer, which some clients would throw away (RFC 9114, section 4.1).
async fn end(mut exchange: RequestStream<Exchange, Bytes>) {
    let ended = tokio::select! {
        biased;
        more = exchange.recv_data() => more.is_ok_and(|more| more.is_none()),
        () = std::future::ready(()) => false,
    };
    if !ended {
        exchange.stop_sending(Code::H3_NO_ERROR);
    }
}

/// Head and body, slice by slice. It ends when the client has them all, or went. Slices wait for `room`, if there is
/// any to wait for.
async fn deliver(
    mut stream: quinn::SendStream,
    head: Bytes,
    mut body: Body,
    room: Option<(Arc<Room>, i32)>,
) -> Result<(), quinn::WriteError> {
    let frame = data_frame(body.left());
    match next(&mut body, room.as_ref()).await {
        None => stream.write_chunk(head).await?,
        Some(piece) => stream.write_all_chunks(&mut [head, frame, piece]).await?,
    }
    while let Some(piece) = next(&mut body, room.as_ref()).await {
        stream.write_chunk(piece).await?;
    }
    // Either fails where the client is gone.
    if body.left() > 0 {
        // It was withdrawn on its way.
        let _ = stream.reset(var(Code::H3_REQUEST_CANCELLED.value()));
        return Ok(());
    }
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

/// The next slice, when there is room for it.
async fn next(body: &mut Body, room: Option<&(Arc<Room>, i32)>) -> Option<Bytes> {
    let Some((room, priority)) = room.filter(|_| body.left() > 0) else { return body.take() };
    let place = room.enter(*priority).await;
    body.take().map(|piece| Bytes::from_owner(Placed { piece, _place: place }))
}

/// A slice in its place. QUIC lets go of it when the client has it.
struct Placed {
    piece: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

/// Answers or gives up what is no request.
async fn refuse(error: &StreamError, lane: &Lane, site: &Site) {
    match error {
        // HTTP/3 has written an answer: 431.
        StreamError::HeaderTooBig { .. } => {
            site.tally.shed(Shed::HeadSize);
            if let Some(stream) = lane.stream() {
                let _ = deliver(stream, lane.head(), Body::empty(), None).await;
            }
        }
        _ if lane.is_overfull() => {
            site.tally.shed(Shed::HeadSize);
            lane.reset(Code::H3_EXCESSIVE_LOAD);
        }
        StreamError::StreamError { code, .. } => {
            site.tally.shed(Shed::Malformed);
            lane.reset(*code);
        }
        // The client took it back, or the connection is lost and says so itself.
        _ => lane.reset(Code::H3_REQUEST_CANCELLED),
    }
}

/// The beginning of a frame with a body of this length.
fn data_frame(len: u64) -> Bytes {
    let mut frame = vec![DATA];
    // RFC 9000, section 16.
    match len {
        0..=0x3f => frame.push(len as u8),
        0x40..=0x3fff => frame.extend((0x4000 | len as u16).to_be_bytes()),
        0x4000..=0x3fff_ffff => frame.extend((0x8000_0000 | len as u32).to_be_bytes()),
        _ => frame.extend((0xc000_0000_0000_0000 | len).to_be_bytes()),
    }
    frame.into()
}

#[expect(clippy::disallowed_methods, reason = "this is the shell: HTTP/1.1 and HTTP/2 get theirs from hyper")]
fn date() -> HeaderValue {
    let text = httpdate::fmt_http_date(SystemTime::now());
    HeaderValue::from_str(&text).expect("a date is plain text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_as_quic_does() {
        // The examples of RFC 9000, section A.1.
        for (len, bytes) in [
            (37, vec![0x25]),
            (15_293, vec![0x7b, 0xbd]),
            (494_878_333, vec![0x9d, 0x7f, 0x3e, 0x7d]),
            (151_288_809_941_952_652, vec![0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        ] {
            assert_eq!(data_frame(len)[1..], bytes);
            assert_eq!(data_frame(len)[0], DATA);
        }
    }
}
