//! A server as a program of its own, and a plain client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program, which is built before its tests.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pixel-llm"))
}

/// A server of the built-in model, or another, that ends with the test.
pub struct Server {
    pub child: Child,
    pub url: String,
    pub model: String,
    // Kept open: the program would end where nobody reads its output.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Waits until the server answers.
    pub fn start(args: &[&str]) -> Self {
        Self::of(program(), args)
    }

    /// The same with models that are converted into a folder of the test's.
    pub fn start_in(folder: &tempfile::TempDir, args: &[&str]) -> Self {
        let mut program = program();
        program.env("PIXEL_LLM_CACHE", folder.path().join("cache"));
        Self::of(program, args)
    }

    fn of(mut program: Command, args: &[&str]) -> Self {
        let mut child = program
            .args(["--json", "serve"])
            .args(args)
            .args(["--port", "0", "--device", "cpu"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        while !ready.ends_with("}\n") {
            assert!(stdout.read_line(&mut ready).unwrap() > 0, "the server ended: {ready}");
        }
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (url, model) = (text("url"), text("model"));
        let server = Self { child, url, model, _stdout: stdout };
        server.wait_for("/health", |status, _| status == 200);
        server
    }

    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        read(agent().get(format!("{}{path}", self.url)).call().unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        read(self.send(path, body))
    }

    /// A response whose body is still to be read.
    pub fn send(&self, path: &str, body: &Value) -> ureq::http::Response<ureq::Body> {
        let request = agent().post(format!("{}{path}", self.url));
        request.content_type("application/json").send(body.to_string()).unwrap()
    }

    /// The events of a stream, without `[DONE]`, which has to be there.
    pub fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut response = self.send(path, body);
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        let mut text = String::new();
        response.body_mut().as_reader().read_to_string(&mut text).unwrap();
        let mut events: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.pop(), Some("[DONE]"), "{text}");
        events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// The value of a line of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let mut response = agent().get(format!("{}/metrics", self.url)).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Asks until the answer is as wanted, for at most half a minute.
    pub fn wait_for(&self, path: &str, wanted: impl Fn(u16, &Value) -> bool) {
        let since = Instant::now();
        loop {
            let (status, body) = self.get(path);
            if wanted(status, &body) {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{path}: {status} {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a metric is as wanted, for at most half a minute.
    pub fn wait_for_metric(&self, name: &str, wanted: f64) {
        let since = Instant::now();
        while self.metric(name) != wanted {
            assert!(since.elapsed() < Duration::from_secs(30), "{name}: {}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells the server to end.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Sends bytes as they are, and reads what comes back until the server closes or `time` is
    /// over.
    pub fn raw(&self, bytes: &[u8], time: Duration) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(time)).unwrap();
        // A server that has seen enough may close before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(300)))
        .build()
        .into()
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text);
    (status, body.unwrap_or_else(|error| panic!("{status} {error}: {text}")))
}

/// A completion of some tokens.
pub fn story(max_tokens: u32) -> Value {
    json!({"prompt": "Once upon a time", "max_tokens": max_tokens, "temperature": 0})
}

/// The `code` of an error, and whether it has all that OpenAI's clients read.
pub fn code(body: &Value) -> &str {
    let error = &body["error"];
    assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
    assert!(error.get("param").is_some(), "{body}");
    error["code"].as_str().unwrap()
}

/// The text of a chunk: of a chat or of a completion.
pub fn text_of(chunk: &Value) -> String {
    let Some(choice) = chunk["choices"].get(0) else { return String::new() };
    let text = choice["text"].as_str().or_else(|| choice["delta"]["content"].as_str());
    text.unwrap_or_default().to_owned()
}
