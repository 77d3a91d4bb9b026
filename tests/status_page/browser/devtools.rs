//! Drives Chromium through a pipe, in the protocol of its developer tools.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A tab of a browser of its own.
pub(super) struct Tab {
    browser: Arc<Mutex<Child>>,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    profile: PathBuf,
    session: Value,
    calls: u64,
    /// Errors that the console showed.
    pub(super) errors: Vec<String>,
    _watchdog: Sender<()>,
}

/// A browser that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

impl Tab {
    pub(super) fn open(program: &str, name: &str) -> Self {
        let profile = std::env::temp_dir().join(format!("rampart-{}-{name}", std::process::id()));
        // It reads from the descriptor 3 and writes to 4.
        let mut browser = Command::new("sh")
            .args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (browser.stdin.take().unwrap(), BufReader::new(browser.stdout.take().unwrap()));
        let browser = Arc::new(Mutex::new(browser));
        let (watchdog, is_done) = mpsc::channel();
        let watched = browser.clone();
        std::thread::spawn(move || {
            if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = watched.lock().unwrap().kill();
            }
        });
        let mut tab =
            Self { browser, to, from, profile, session: Value::Null, calls: 0, errors: vec![], _watchdog: watchdog };
        let target = tab.call("Target.createTarget", json!({ "url": "about:blank" }));
        let session = tab.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        tab.session = session["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab
    }

    /// Calls a method and returns its result.
    pub(super) fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = vec![];
            self.from.read_until(0, &mut answer).unwrap();
            assert_eq!(answer.pop(), Some(0), "the browser has ended");
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    pub(super) fn go(&mut self, url: &str) {
        let went = self.call("Page.navigate", json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{went}");
    }

    /// Evaluates an expression, and waits for it if it is a promise.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(super) fn until(&mut self, expression: &str) {
        let wait = "new Promise(done => { const last = Date.now() + 20000; const look = () => {
            let is_true = false;
            try { is_true = ({expression}); } catch {}
            if (is_true || Date.now() > last) done(Boolean(is_true)); else setTimeout(look, 20);
        }; look(); })";
        let is_true = self.eval(&wait.replace("{expression}", expression));
        if is_true != true {
            let text = self.eval("document.body.innerText");
            panic!("never true: {expression}\nerrors: {:?}\nthe page: {text}", self.errors);
        }
    }

    /// Presses a key that writes this text, if any.
    pub(super) fn press(&mut self, key: &str, text: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            _ => 0,
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let key = json!({ "type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", key);
        }
    }

    pub(super) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.errors.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.errors.push(params["entry"]["text"].to_string());
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.errors.push(params["args"].to_string())
            }
            _ => {}
        }
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let mut browser = self.browser.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = browser.kill();
        let _ = browser.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
