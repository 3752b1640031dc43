//! Tests of `/v1/events` over real connections, with a broker that is nowhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::HeaderValue;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::super::tests::ask;
use super::super::{Shared, serve_on};
use super::*;
use crate::clock::Clock;
use crate::health::Health;
use crate::metrics::Metrics;

const TOKEN: &str = "a-token";

fn events() -> Events {
    Events { token: TOKEN.into(), intake: crate::intake::tests::intake().0 }
}

async fn serve(events: Option<Events>) -> (SocketAddr, Metrics) {
    let metrics = Metrics::new();
    let health = Health::new(Clock::system(), metrics.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Shared { health, metrics: metrics.clone(), events };
    tokio::spawn(serve_on(listener, shared, CancellationToken::new()));
    (address, metrics)
}

/// Status and whole answer of a POST.
async fn post(address: SocketAddr, headers: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

/// A POST with the right token and type.
async fn post_json(address: SocketAddr, body: &[u8]) -> (u16, String) {
    let length = body.len();
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    post(address, &headers, body).await
}

fn document() -> Value {
    json!({
        "specversion": "1.0", "id": "1", "source": "crm", "type": "crm.record.deleted.v1",
        "data": { "schema": "Contact", "record_id": "0f8fad5b-d9cb-469f-a165-70867728950e" }
    })
}

fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn only_the_one_right_bearer_token_is_let_in() {
    let token = SecretString::from(TOKEN);
    for right in ["Bearer a-token", "bearer a-token", "BEARER  a-token "] {
        assert!(has_token(&headers(&[("authorization", right)]), &token), "{right}");
    }
    for wrong in ["", "Bearer", "Bearer ", "Bearer a-toke", "Bearer a-token2", "Basic a-token", "a-token"] {
        assert!(!has_token(&headers(&[("authorization", wrong)]), &token), "{wrong}");
    }
    assert!(!has_token(&headers(&[]), &token));
    let two = [("authorization", "Bearer a-token"), ("authorization", "Bearer a-token")];
    assert!(!has_token(&headers(&two), &token));
}

#[test]
fn only_a_whole_document_in_plain_json_is_read() {
    for right in ["application/json", "Application/CloudEvents+JSON ; charset=utf-8", "application/json;x=y"]
    {
        assert!(is_json(&headers(&[("content-type", right)])), "{right}");
    }
    for wrong in ["", "text/plain", "application/cloudevents-batch+json", "application/xml", "json"] {
        assert!(!is_json(&headers(&[("content-type", wrong)])), "{wrong}");
    }
    let json = ("content-type", "application/json");
    assert!(!is_json(&headers(&[])) && !is_json(&headers(&[json, json])));
    assert!(!is_json(&headers(&[json, ("content-encoding", "gzip")])));
    assert!(is_json(&headers(&[json, ("content-encoding", "identity")])));
}

#[tokio::test]
async fn every_refusal_has_its_status_and_repeats_nothing() {
    let (address, metrics) = serve(Some(events())).await;
    let length = "Content-Length: 2\r\n";
    let typed = "Content-Type: application/json\r\n";
    let (status, answer) = post(address, &format!("{typed}{length}"), b"{}").await;
    assert!(status == 401 && answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    let wrong = format!("Authorization: Bearer wrong-token\r\n{typed}{length}");
    let (status, answer) = post(address, &wrong, b"{}").await;
    assert!(status == 401 && !answer.contains("token\":") && !answer.contains("wrong-token"), "{answer}");
    let text = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/plain\r\n{length}");
    assert_eq!(post(address, &text, b"{}").await.0, 415);

    let mut event = document();
    event["data"]["files"] = json!([
        { "file_id": "0f8fad5b-d9cb-469f-a165-70867728950e" },
        { "file_id": "a secret name" }
    ]);
    let (status, answer) = post_json(address, event.to_string().as_bytes()).await;
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let field = "data.files[1].file_id";
    assert_eq!(told, json!({ "error": format!("{field}: is not a UUID"), "field": field }));
    assert_eq!(status, 400);
    let (status, answer) = post_json(address, b"a secret name").await;
    assert!(
        status == 400 && answer.contains("\"field\":\"event\"") && !answer.contains("secret"),
        "{answer}"
    );

    let (status, answer) = post_json(address, document().to_string().as_bytes()).await;
    assert!(status == 503 && answer.contains("retry-after: 5\r\n"), "{answer}");
    for (result, count) in [("accepted", 0), ("refused", 5), ("unavailable", 1)] {
        let line = format!("file_recycler_intake_events_total{{result=\"{result}\"}} {count}");
        assert!(metrics.render().lines().any(|found| found == line), "{line}");
    }
}

#[tokio::test]
async fn without_a_token_nobody_may_and_other_methods_are_405() {
    let (address, _) = serve(None).await;
    let headers = format!("Authorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n");
    assert_eq!(post(address, &headers, b"{}").await.0, 403);
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let answer = ask(address, method, "/v1/events", "").await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: POST\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_announced_or_not_and_its_sender_gets_the_answer() {
    let (address, _) = serve(Some(events())).await;
    let padded = |length: usize| {
        let mut body = document().to_string().into_bytes();
        body.resize(length, b' ');
        body
    };
    assert_eq!(post_json(address, &padded(MAX_BYTES)).await.0, 503, "the largest event is read");
    assert_eq!(post_json(address, &padded(MAX_BYTES + 1)).await.0, 413);
    let asking = format!(
        "Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1048577\r\n\
         Expect: 100-continue\r\n"
    );
    assert_eq!(post(address, &asking, b"").await.0, 413, "before a byte of it was sent");
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    );
    let piece = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    let body = [piece.repeat(40), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(post(address, &headers, &body).await.0, 413);
    // A refusal that needs no body lets its sender finish, too.
    let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(post(address, headers, &body).await.0, 401);
}

#[tokio::test]
async fn no_more_of_a_body_is_read_than_its_sender_needs_to_hear_the_answer() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let endless = futures_util::stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![0_u8; 64 * 1024])
    });
    let refused = read(Body::from_stream(endless), MAX_BYTES).await;
    assert_eq!(refused, Err(Answer::Refused(Refused::TooLarge)));
    assert!(seen.load(Ordering::Relaxed) * 64 * 1024 <= MAX_FORGOTTEN + MAX_BYTES);
}

#[tokio::test]
async fn a_client_that_drips_its_body_is_told_and_a_cut_one_harms_nobody() {
    let (address, _) = serve(Some(events())).await;
    let headers =
        format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n");
    let (status, answer) = post(address, &headers, b"{").await;
    assert!(status == 408 && answer.contains("within 5s"), "{answer}");
    let mut cut = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\n{headers}\r\n{{");
    cut.write_all(head.as_bytes()).await.unwrap();
    drop(cut);
    assert_eq!(post_json(address, b"{}").await.0, 400);
}

/// One answer of each kind.
fn every_answer() -> Vec<Answer> {
    let wrong = Refused::Wrong { field: "id".to_owned(), problem: "is missing".to_owned() };
    let mut answers = vec![
        Answer::Accepted("1".to_owned()),
        Answer::Forbidden,
        Answer::Unauthorized,
        Answer::UnsupportedMediaType,
        Answer::TooSlow,
        Answer::Refused(wrong),
        Answer::Refused(Refused::TooLarge),
    ];
    answers.extend([Unavailable::Broker, Unavailable::Busy].map(Answer::from));
    answers
}

#[tokio::test]
async fn the_openapi_document_says_what_is_served() {
    let document: Value = serde_json::from_str(include_str!("../../../deploy/schemas/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut served: Vec<&str> = super::super::PATHS.to_vec();
    served.sort_unstable();
    let mut documented: Vec<&str> = paths.keys().map(String::as_str).collect();
    documented.sort_unstable();
    assert_eq!(documented, served);

    let operation = &paths["/v1/events"]["post"];
    let statuses =
        |responses: &Value| -> BTreeSet<String> { responses.as_object().unwrap().keys().cloned().collect() };
    let given: BTreeSet<String> =
        every_answer().iter().map(|answer| answer.status().as_u16().to_string()).collect();
    assert_eq!(statuses(&operation["responses"]), given);
    for answer in every_answer() {
        let response = &operation["responses"][answer.status().as_str()];
        let response_headers = answer.into_response().headers().clone();
        for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(response_headers.contains_key(name), "{name}");
        }
    }
    for kind in operation["requestBody"]["content"].as_object().unwrap().keys() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        assert!(is_json(&headers), "{kind}");
    }

    let (address, _) = serve(None).await;
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let answer = ask(address, &method.to_uppercase(), path, "Content-Length: 0\r\n").await;
            assert!(statuses(&operation["responses"]).contains(&answer[9..12]), "{method} {path}: {answer}");
        }
    }
}
