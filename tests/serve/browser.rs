//! A browser's `fetch` with server-sent events against the real server: through a page of the same
//! origin, as a proxy gives it, and from a page of another, which is told nothing.
//!
//! `tests/run all` installs Chromium; without it this says so loudly and passes over.

use std::io::{BufRead, BufReader, Read, Write, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

use crate::client::Server;

/// A page that streams a chat of its own origin, asks another origin, and tells what came of both.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>a chat</title><script>
async function chat() {
  const body = JSON.stringify({messages: [{role: "user", content: "Tell a story"}], stream: true,
    max_tokens: 12, seed: 7, stream_options: {include_usage: true}});
  const headers = {"Content-Type": "application/json"};
  const response = await fetch("/v1/chat/completions", {method: "POST", headers, body});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let [text, pending, pieces, usage, done] = ["", "", 0, null, false];
  for (;;) {
    const {value, done: ended} = await reader.read();
    if (ended) break;
    pending += value;
    const events = pending.split("\n\n");
    pending = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      if (event === "data: [DONE]") { done = true; continue; }
      const chunk = JSON.parse(event.slice(6));
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
      pieces += 1;
    }
  }
  return {status: response.status, text, pieces, usage, done};
}
async function elsewhere() {
  const body = JSON.stringify({prompt: "A", max_tokens: 1});
  const headers = {"Content-Type": "application/json"};
  const url = "OTHER/v1/completions";
  try { return (await fetch(url, {method: "POST", headers, body})).status; }
  catch (error) { return error.name; }
}
const told = {};
const tell = (name) => (value) => { told[name] = value; };
Promise.all([chat().catch(String).then(tell("chat")), elsewhere().then(tell("elsewhere"))])
  .then(() => fetch("/told", {method: "POST", body: JSON.stringify(told)}));
</script>"#;

/// A proxy that gives the page itself and what the page tells, and passes on everything else.
fn proxy(server: &Server) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let page = PAGE.replace("OTHER", &server.url);
    let (upstream, (tell, told)) = (server.address().to_owned(), channel());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (page, upstream, tell) = (page.clone(), upstream.clone(), tell.clone());
            // A browser opens connections that it may never use.
            std::thread::spawn(move || serve_one(client, &page, &upstream, &tell));
        }
    });
    (origin, told)
}

fn serve_one(mut client: TcpStream, page: &str, upstream: &str, tell: &Sender<Value>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if !reader.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {
            return;
        }
        let line = head[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let answer = |client: &mut TcpStream, kind: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}");
        // A browser that has left need not have it.
        let _ = write!(client, "{head}\r\nConnection: close\r\n\r\n{body}");
    };
    match head.split(' ').nth(1) {
        Some("/") => answer(&mut client, "text/html", page),
        Some("/told") => {
            answer(&mut client, "text/plain", "");
            let _ = tell.send(serde_json::from_slice(&body).unwrap());
        }
        Some("/favicon.ico") => answer(&mut client, "text/plain", ""),
        _ => {
            let mut server = TcpStream::connect(upstream).unwrap();
            let head = head.replace("Connection: keep-alive", "Connection: close");
            server.write_all(head.as_bytes()).unwrap();
            server.write_all(&body).unwrap();
            let _ = copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_browser_streams_a_chat_and_another_origin_is_told_nothing() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.into_iter().find(is_there) else {
        eprintln!("SKIPPED, nothing was tested: Chromium is not installed");
        return;
    };
    let server = Server::start(&[]);
    let (origin, told) = proxy(&server);
    let home = tempfile::tempdir().unwrap();
    let mut data = std::ffi::OsString::from("--user-data-dir=");
    data.push(home.path());
    let mut chromium = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update"])
        .arg("--remote-debugging-port=0")
        .arg(data)
        .arg(&origin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = told.recv_timeout(Duration::from_secs(90));
    let _ = chromium.kill();
    let _ = chromium.wait();
    let told = told.expect("the page tells what came of it");
    let chat = &told["chat"];
    assert_eq!((&chat["status"], &chat["done"]), (&200.into(), &true.into()), "{told}");
    assert!(chat["pieces"].as_u64().unwrap() > 4, "it comes piece by piece: {told}");
    assert_eq!(chat["usage"]["completion_tokens"], 12, "{told}");
    let body = serde_json::json!({
        "messages": [{"role": "user", "content": "Tell a story"}], "max_tokens": 12, "seed": 7,
    });
    let (_, plain) = server.post("/v1/chat/completions", &body);
    assert_eq!(chat["text"], plain["choices"][0]["message"]["content"]);
    assert_eq!(told["elsewhere"], "TypeError", "a browser keeps it from the page");
}
