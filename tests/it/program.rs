//! One builder for tests that run the program: a folder of its own, arguments, environment, input; then the
//! exact standard output, standard error and exit code.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A temporary folder in which the program runs.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.file(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.file(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The program with these arguments, in this folder, with none of the caller's settings.
    pub fn endort<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_endort"));
        command.current_dir(self.path()).args(args);
        // What is measured and compiled here is nobody else's.
        command.env("XDG_CACHE_HOME", self.file(".cache"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REALTIME_") {
                command.env_remove(name);
            }
        }
        Run { command }
    }
}

/// A command that is about to run.
pub struct Run {
    command: Command,
}

impl Run {
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Runs it in another folder than the sandbox.
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it with this many open files at most.
    pub fn with_descriptors(self, limit: usize) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string()]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(self.command.get_current_dir().unwrap());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command }
    }

    /// Runs it to its end.
    pub fn finish(mut self) -> Finished {
        let output = self.command.stdin(Stdio::null()).output().unwrap();
        Finished::new(&output)
    }

    /// Runs it with a reader that takes one line of its output and leaves.
    pub fn pipe_into_reader_of_one_line(mut self) -> Finished {
        let mut child =
            self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut stdout).unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Finished { code: child.wait().unwrap().code(), stdout, stderr }
    }

    /// Starts it; its standard output can be read, its standard error goes to a file.
    pub fn start_logging_to(mut self, log: &Path) -> Child {
        let log = std::fs::File::create(log).unwrap();
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Starts it, with its output thrown away.
    pub fn start(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{self:#?}");
        self
    }

    /// Exactly this on standard error; `""` for silence.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        assert_eq!(self.stderr, expected, "{self:#?}");
        self
    }

    /// Exactly this on standard output; `""` for silence.
    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        assert_eq!(self.stdout, expected, "{self:#?}");
        self
    }
}
