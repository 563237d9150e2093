//! A server over a file store, in a process that is killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use lessor_core::Engine;
use lessor_file::FileStore;
use lessor_http::{Config, serve};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::python::Ended;

const TASK: &str = "LESSOR_HTTP_SDK_TASK";

/// Not a test of its own: the code that this program runs as a child process.
#[test]
fn the_child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (port, folder) = task.split_once(' ').unwrap();
    let engine = Engine::new(Arc::new(FileStore::open(folder).unwrap())).unwrap();
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
        // The test harness has begun a line.
        println!("\nport {}", listener.local_addr().unwrap().port());
        serve(listener, &engine, &Config::new(), std::future::pending()).await.unwrap();
    });
}

pub(crate) struct Killed {
    child: Option<Ended>,
    folder: PathBuf,
    port: u16,
}

impl Killed {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut server = Self { child: None, folder: folder.to_owned(), port: 0 };
        server.restart();
        server
    }

    fn restart(&mut self) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child::the_child", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(TASK, format!("{} {}", self.port, self.folder.display()));
        let mut child = Ended(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        self.port = lines.find_map(|line| line.strip_prefix("port ")?.parse().ok()).unwrap();
        self.child = Some(child);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills the process and starts it again over the same folder and on the same port.
    pub(crate) fn kill_and_restart(&mut self) {
        // `kill` of a process is SIGKILL.
        self.child = None;
        self.restart();
    }
}
