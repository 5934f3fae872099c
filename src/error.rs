//! What went wrong, as a kind with an exit code, a cause and the next commands to try.
//! Depends on: anyhow.

/// The kinds of failure that a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// The task file is missing or wrong.
    TaskFile,
    /// Docker or buildx cannot be used.
    Docker,
    /// The cluster or kind cannot be used.
    Cluster,
    /// A build failed.
    Build,
    /// A load failed or could not be verified.
    Load,
    /// The test command ran no test.
    NoTests,
    /// tg would have to touch what is not its own, or was not given a yes.
    Refused,
    /// Anything else.
    Internal,
    /// A test command or `run` step ended with this code, which is passed through.
    Child(u8),
    /// This signal asked tg to stop.
    Interrupted(u8),
}

/// Every fixed exit code with its meaning; docs/exit-codes.md says the same.
pub const EXIT_CODES: [(Kind, u8, &str); 9] = [
    (Kind::Usage, 2, "the command line is wrong"),
    (Kind::TaskFile, 60, "the task file is missing or wrong"),
    (Kind::Docker, 61, "Docker or buildx cannot be used"),
    (Kind::Cluster, 62, "the cluster or kind cannot be used"),
    (Kind::Build, 63, "a build failed"),
    (Kind::Load, 64, "a load failed or could not be verified"),
    (Kind::NoTests, 65, "the test command ran no test"),
    (Kind::Refused, 66, "refused: not tg's own, or not confirmed"),
    (Kind::Internal, 70, "anything else"),
];

impl Kind {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Child(code) => code,
            Self::Interrupted(signal) => 128 + signal,
            fixed => EXIT_CODES.iter().find(|(kind, ..)| *kind == fixed).map_or(70, |row| row.1),
        }
    }
}

/// A failure on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What, where and why.
    pub cause: anyhow::Error,
    /// What to do next, one command or sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure with its cause.
    #[must_use]
    pub fn new(kind: Kind, cause: impl Into<anyhow::Error>) -> Self {
        Self { kind, cause: cause.into(), hints: Vec::new() }
    }

    /// A failure that is told in one sentence.
    #[must_use]
    pub fn said(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(kind, anyhow::Error::msg(message.into()))
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
