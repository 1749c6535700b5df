//! Programs and scripts: bounded, their progress shown, their output kept.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
};

use crate::{Failure, Outcome, paths};

/// A program that is to be run.
pub struct Program {
    name: String,
    command: Command,
    limit: Duration,
    shown: bool,
    drawn: bool,
    remedy: String,
}

/// What a program left.
#[derive(Debug, Clone)]
pub struct Left {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
}

impl Left {
    /// The last line of standard output: what the scripts of this repository answer with.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.stdout.trim_end().lines().last().unwrap_or_default()
    }
}

impl Program {
    /// A program on the PATH, or a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let name = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program.as_ref());
        command.current_dir(paths::root()).stdin(Stdio::null()).kill_on_drop(true);
        Self { name, command, limit: Duration::from_secs(60), shown: false, drawn: false, remedy: String::new() }
    }

    /// A script of the repository.
    #[must_use]
    pub fn script(path: &str) -> Self {
        let mut own = Self::new(paths::of_repository(path));
        own.name = path.to_string();
        own
    }

    /// The same, with arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// The same, with a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// The same, ended after this time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same, with what it says on standard error passed on line by line.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    /// The same, with the terminal as its standard error: for progress bars.
    #[must_use]
    pub fn drawn(mut self) -> Self {
        self.drawn = true;
        self
    }

    /// The same, saying what to do when it fails.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }

    /// Runs it, whatever its exit code is.
    ///
    /// # Errors
    /// When it cannot be started or takes too long.
    pub async fn answer(mut self) -> Outcome<Left> {
        self.command.stdout(Stdio::piped()).stderr(if self.drawn { Stdio::inherit() } else { Stdio::piped() });
        let mut child = self.command.spawn().map_err(|error| {
            Failure::new(format!("{} cannot be started: {error}", self.name)).remedy(self.remedy.clone())
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let both = async {
            let (stdout, stderr) = tokio::join!(read(stdout, false), read(stderr, self.shown));
            (stdout, stderr, child.wait().await)
        };
        let Ok((stdout, stderr, ended)) = tokio::time::timeout(self.limit, both).await else {
            return Err(Failure::new(format!("{} did not end within {} s", self.name, self.limit.as_secs()))
                .remedy(self.remedy.clone()));
        };
        let code = ended.map_err(|error| Failure::new(format!("{}: {error}", self.name)))?.code();
        Ok(Left { stdout, stderr, code })
    }

    /// Runs it to success.
    ///
    /// # Errors
    /// When it fails, with the end of what it said.
    pub async fn run(self) -> Outcome<Left> {
        let (name, remedy) = (self.name.clone(), self.remedy.clone());
        let left = self.answer().await?;
        if left.code == Some(0) {
            return Ok(left);
        }
        let code = left.code.map_or_else(|| "a signal".to_string(), |code| format!("exit code {code}"));
        Err(Failure::new(format!("{name} ended with {code}"))
            .seen(&format!("{}\n{}", left.stdout.trim_end(), left.stderr.trim_end()))
            .remedy(remedy))
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, shown: bool) -> String {
    let mut text = String::new();
    let Some(pipe) = pipe else { return text };
    let mut lines = BufReader::new(pipe).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        if shown {
            println!("    {}", line.trim_end());
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The binary, built if nobody named one.
///
/// # Errors
/// When it does not compile.
pub async fn launchway() -> Outcome<PathBuf> {
    let (binary, build) = paths::binary();
    if build {
        // The whole workspace: one selection of packages is one set of features, so nothing compiles twice.
        Program::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--profile", "quick", "--locked", "--workspace", "--bins"])
            .limit(Duration::from_secs(3600))
            .remedy("run `cargo build --profile quick --workspace --bins` and look at what the compiler says")
            .shown()
            .run()
            .await?;
    }
    if binary.is_file() {
        return Ok(binary);
    }
    Err(Failure::new(format!("there is no binary at {}", binary.display()))
        .remedy("unset LAUNCHWAY_BINARY, or let it name a binary of launchway"))
}
