//! The real program, as processes of its own.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use starling_client::Client;
use starling_testkit::program;
pub(crate) use starling_testkit::text;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::oneshot;

use crate::harness::soon;

/// The program with these arguments, and nothing of its settings from the environment of the tests.
pub(crate) fn starling(arguments: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_starling"));
    command.args(arguments).stderr(Stdio::piped());
    if arguments.contains(&"--listen") && !arguments.contains(&"--print-config") {
        // Many serve at the same time: none is to have the one default address.
        command.env("STARLING__ADMIN__LISTEN", "off");
    }
    command
}

/// A shell with this script, in which `$0` is the program, and nothing of its settings either.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = program("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_starling")]);
    command
}

/// What a command says and how it exits.
pub(crate) async fn run(command: Command) -> Output {
    Running::spawn(command).output().await
}

/// A process that is killed when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its number in the system.
    pub(crate) id: u32,
    ended: Option<oneshot::Receiver<Output>>,
    stdin: Option<std::process::ChildStdin>,
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        Self::from(command.spawn().expect("the program starts"))
    }

    /// Collects what the process says and waits for its end, on a thread of its own.
    fn from(mut child: Child) -> Self {
        let (id, stdin) = (child.id(), child.stdin.take());
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let output = child.wait_with_output().expect("a child can be waited for");
            // Without a receiver the test is over.
            end.send(output).ok();
        });
        Self { id, ended: Some(ended), stdin }
    }

    /// Waits for the end.
    pub(crate) async fn output(mut self) -> Output {
        let output = soon(self.ended.as_mut().expect("it was not waited for before")).await;
        self.ended = None;
        output.expect("the thread that waits sends what it got")
    }

    /// Writes to the process's standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("standard input is a pipe").write_all(bytes).expect("the process reads");
    }

    /// Ends the process's standard input.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal, such as TERM.
    pub(crate) fn signal(&self, name: &str) {
        assert!(self.signalled(name), "the process runs");
    }

    fn signalled(&self, name: &str) -> bool {
        let sent = Command::new("kill").args(["-s", name, &self.id.to_string()]).stderr(Stdio::null()).status();
        sent.expect("there is a kill command").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(ended) = &mut self.ended
            && ended.try_recv().is_err()
        {
            // It may end by itself in this moment.
            self.signalled("KILL");
        }
    }
}

/// A process whose standard output is read while it runs.
#[derive(Debug)]
pub(crate) struct Talking {
    pub(crate) running: Running,
    pub(crate) says: BufReader<tokio::fs::File>,
}

impl Talking {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stdout = File::from(OwnedFd::from(child.stdout.take().expect("standard output is a pipe")));
        Self { running: Running::from(child), says: BufReader::new(tokio::fs::File::from_std(stdout)) }
    }

    /// The next line; empty at the end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.says.read_line(&mut line)).await.expect("it says text");
        line.trim_end().to_owned()
    }

    /// Some of what it says next; nothing at the end.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let read = soon(self.says.read(&mut bytes)).await.expect("it can be read");
        bytes.truncate(read);
        bytes
    }
}

/// `starling` as a server.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Serves on a free port, with settings such as `("DRAIN__TIMEOUT", "3s")`.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "warn"]);
        for (name, value) in settings {
            command.env(format!("STARLING__{name}"), value);
        }
        Self::spawn(command).await
    }

    /// Serves as a command of the test's own says.
    pub(crate) async fn spawn(command: Command) -> Self {
        Self::spawn_saying("listening", command).await
    }

    /// The same where the log comes on standard output.
    pub(crate) async fn spawn_logging(command: Command) -> Self {
        Self::spawn_saying("serving", command).await
    }

    /// Serves, and reads the address off the first line with this message.
    async fn spawn_saying(message: &str, command: Command) -> Self {
        let mut server = Talking::spawn(command);
        let listening = loop {
            let line = server.line().await;
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            if line["message"] == message {
                break line;
            }
        };
        let address = listening["address"].as_str().and_then(|address| address.parse().ok());
        Self { process: server.running, address: address.expect("the line names the address") }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url()).await.expect("the server accepts")
    }
}
