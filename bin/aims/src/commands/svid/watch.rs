//! `aims svid watch`: keeps an identity in files for programs that can only read files.
//!
//! What is refused or cut off keeps its files
//! (docs/decisions/0008-files-stay-when-an-identity-is-withdrawn.md).

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use clap::{Args, ValueEnum};
use provisioning::renewal;
use reach::folder::Folder;
use time::{Span, UnixTime};
use tokio_stream::{Stream, StreamExt as _};
use wiring::world::SystemClock;
use workload::client::CallError;
use workload::{JwtAnswer, WitAnswer, WitSvid, X509Answer, X509Svid};

use crate::commands::Context;
use crate::commands::svid::Source;
use crate::exit::Failure;
use crate::files;
use crate::identity::{self, Identity};
use crate::place::Place;
use events::{Event, Teller};
use set::Set;
use wiring::after::{After, Name, Words};

mod events;
mod set;

/// How long the first answer may take, and how often it is said that the files near their end.
const WARN_AGAIN: Duration = Duration::from_secs(30);
/// What a pause between tries is measured by while there are no files.
const NOTHING_YET: Span = Span::from_seconds(60);
/// A token is replaced when so many of its milliseconds are left as of its life: a half.
const TOKEN_LIFE_SHARE: u64 = 2;
/// How long a token serves that does not say when it ends.
const TOKEN_LIFE_UNKNOWN: Span = Span::from_seconds(60);

/// What to do where nobody answers; `--dir` is no help here.
const NOBODY: &str =
    "start it with `aims up` or `aims node`, or name it: `--socket ADDRESS`, `--installation DIR`";
/// What a node near half a credential's life should have renewed by now: three quarters of it.
const LATE_NUMERATOR: u64 = 3;
const LATE_DENOMINATOR: u64 = 4;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    aims svid watch --dir /run/tls --exec \"nginx -s reload\"\n  \
    aims svid watch --dir ./tls --signal HUP --pid-file ./server.pid\n  \
    aims svid watch --dir ./tls --once\n\n\
    It leaves svid.pem, key.pem, bundle.pem and, for each further trust domain,\n\
    federated/NAME.pem; as asked for, jwt_svid.token, wit.jwt and wit_key.jwk. With --format\n\
    combined, identity.pem has key and certificates in one file.\n\n\
    All of them change at once, as the link `..data` does. A program that opens two of them at\n\
    an unlucky moment gets two versions: let it look again when it is told to, or read\n\
    identity.pem.\n\n\
    Who asks the Workload API is `aims`, under the user that runs it: that is what the service's\n\
    record must name (`aims agent register --exec`), and a user has one such identity.\n\n\
    Files stay when the node is away or refuses; what goes wrong is said, and tried again.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// The folder to keep the files in; made if it is not there
    #[arg(long = "dir", value_name = "FOLDER")]
    folder: PathBuf,
    /// Run this each time that there are new files, and once at the start; no shell reads it
    #[arg(long, value_name = "CMD", value_parser = Words::parse, conflicts_with = "signal")]
    exec: Option<Words>,
    /// Send this signal instead: HUP, USR1, USR2, INT or TERM
    #[arg(long, value_name = "NAME", value_parser = Name::parse, requires = "pid_file")]
    signal: Option<Name>,
    /// To the process whose id is in this file
    #[arg(long, value_name = "FILE", requires = "signal")]
    pid_file: Option<PathBuf>,
    /// Write the files, run the command, and end
    #[arg(long)]
    once: bool,
    /// `pem`: a file each; `combined`: key and certificates together in identity.pem
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "pem",
        hide_possible_values = true
    )]
    format: Format,
    /// Mode of the files with secrets
    #[arg(long, value_name = "MODE", value_parser = secret_mode, default_value = "0600")]
    mode: u32,
    /// Keep a JWT-SVID for this audience too; may be given several times
    #[arg(long = "audience", value_name = "AUDIENCE")]
    audiences: Vec<String>,
    /// Keep the workload identity token and its key too
    #[arg(long)]
    wit: bool,
    /// The installation: what --dir is elsewhere
    #[arg(
        id = "dir",
        long = "installation",
        value_name = "DIR",
        env = Place::VARIABLE,
        hide_env_values = true,
        default_value = Place::DEFAULT
    )]
    installation: PathBuf,
}

/// Which files there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Pem,
    Combined,
}

/// Runs until it is told to stop.
pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    let stopped = wiring::up::signal();
    let mut watch = Watch::begin(context, arguments)?;
    tokio::select! {
        ended = Box::pin(watch.run()) => ended,
        () = stopped => Ok(()),
    }
}

/// The files, and what they are made of.
struct Watch<'c> {
    context: &'c Context,
    arguments: Arguments,
    after: After,
    folder: Folder,
    tell: Teller,
    /// What the files are, once this process wrote them.
    written: Option<Set>,
    /// From when to when the certificate counts that is in them.
    life: Option<(UnixTime, UnixTime)>,
    /// Tries that failed, one after the other.
    failures: u32,
}

/// What has come so far.
#[derive(Default)]
struct Held {
    x509: Option<X509Answer>,
    jwt: Option<(JwtAnswer, UnixTime)>,
    wit: Option<WitSvid>,
}

impl Held {
    /// Whether all streams have said something.
    const fn has_all(&self, wit: bool) -> bool {
        self.x509.is_some() && (!wit || self.wit.is_some())
    }
}

/// Why a session ended.
enum Ended {
    /// All is done that was asked for.
    Done,
    /// It may go better in a while.
    Again(Failure),
    /// It will not.
    Never(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Again(failure)
    }
}

type Wits = Pin<Box<dyn Stream<Item = Result<WitAnswer, CallError>> + Send>>;

impl<'c> Watch<'c> {
    fn begin(context: &'c Context, arguments: Arguments) -> Result<Self, Failure> {
        let after = match (&arguments.exec, &arguments.signal, &arguments.pid_file) {
            (Some(words), ..) => After::Command(words.clone()),
            (None, Some(Name(signal)), Some(file)) => {
                After::Signal { signal: *signal, pid_file: file.clone() }
            }
            _ => After::Nothing,
        };
        let folder = Folder::take(&arguments.folder)?;
        let name = Set::certificate_name(arguments.format);
        let life = files::read(&folder.current(name)).ok().and_then(|text| Set::life(&text));
        let tell = Teller { output: context.output, folder: arguments.folder.clone() };
        let (written, failures) = (None, 0);
        Ok(Self { context, arguments, after, folder, tell, written, life, failures })
    }

    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let failure = match self.session().await {
                Ended::Done => return Ok(()),
                Ended::Never(failure) => return Err(failure),
                Ended::Again(failure) if self.arguments.once => return Err(failure),
                Ended::Again(failure) => failure,
            };
            self.failures = self.failures.saturating_add(1);
            let now = SystemClock::read();
            let until = self.life.map_or(now.plus(NOTHING_YET), |(_, until)| until);
            let pause = renewal::retry_after(self.failures, now, until);
            self.tell.event(&Event::Waiting { why: &failure, again_in: pause });
            self.warn(now);
            tokio::time::sleep(pause.duration()).await;
        }
    }

    /// One connection, for as long as it lasts.
    async fn session(&mut self) -> Ended {
        match self.follow().await {
            Ok(never) => never,
            Err(ended) => ended,
        }
    }

    async fn follow(&mut self) -> Result<Ended, Ended> {
        let source = self.arguments.source.clone();
        let connected = source.socket.connect(self.context).await;
        let identity = connected.map_err(|failure| failure.hint(NOBODY))?;
        let client = identity.client();
        let mut x509 = pin!(client.x509().await.map_err(|error| ended(&identity, &error))?);
        let mut wits: Option<Wits> = None;
        if self.arguments.wit {
            let stream = client.wit(source.id.as_ref()).await;
            wits = Some(Box::pin(stream.map_err(|error| ended(&identity, &error))?));
        }
        let mut held = Held::default();
        loop {
            tokio::select! {
                item = next(&mut x509) => {
                    held.x509 = Some(item.map_err(|error| ended(&identity, &error))?);
                }
                item = next_wit(wits.as_mut()) => {
                    let answer = item.map_err(|error| ended(&identity, &error))?;
                    held.wit = Some(identity::of(answer.svids, source.id.as_ref(), |svid| {
                        &svid.spiffe_id
                    })?);
                }
                () = token_is_old(held.jwt.as_ref()) => held.jwt = None,
                () = tokio::time::sleep(WARN_AGAIN) => {
                    self.warn(SystemClock::read());
                    if !held.has_all(self.arguments.wit) {
                        return Err(Ended::Again(Failure::unavailable("no answer in time")));
                    }
                }
            }
            if !held.has_all(self.arguments.wit) {
                continue;
            }
            if held.jwt.is_none() && !self.arguments.audiences.is_empty() {
                held.jwt = Some(self.token(&identity).await?);
            }
            self.publish(&held).await?;
            if self.arguments.once {
                return Ok(Ended::Done);
            }
        }
    }

    /// A JWT-SVID, and when to replace it.
    async fn token(&self, identity: &Identity) -> Result<(JwtAnswer, UnixTime), Failure> {
        let audiences: Vec<_> = self.arguments.audiences.iter().map(String::as_str).collect();
        let token = identity.jwt(&audiences, self.arguments.source.id.as_ref()).await?;
        let now = SystemClock::read();
        let left = set::expiry(token.token.expose()).map(|until| until.since(now));
        let left = left.unwrap_or(TOKEN_LIFE_UNKNOWN).millis() / TOKEN_LIFE_SHARE;
        Ok((token, now.plus(Span::from_millis(left.max(1_000)))))
    }

    /// Writes what came, if it is not what was written last, and tells those who read it.
    async fn publish(&mut self, held: &Held) -> Result<(), Ended> {
        let Some(answer) = &held.x509 else { return Ok(()) };
        let svids: Vec<&X509Svid> = answer.svids.iter().collect();
        let id = self.arguments.source.id.as_ref();
        let svid = identity::of(svids, id, |svid| &svid.spiffe_id)?;
        let jwt = held.jwt.as_ref().map(|(token, _)| token);
        let wit = held.wit.as_ref();
        let set = Set::of(svid, &answer.federated, jwt, wit, self.arguments.format)?;
        if self.written.as_ref().is_some_and(|written| written.is_same(&set)) {
            self.failures = 0;
            return Ok(());
        }
        let now = SystemClock::read();
        let written = self.folder.write(now, &set.entries(self.arguments.mode));
        written.map_err(|error| {
            let why = format!("`{}` was not written: {error}", self.arguments.folder.display());
            Failure::unavailable(why)
                .hint("make room, or let it write; what was there before stays")
        })?;
        self.life = Some(set.life);
        self.tell.event(&Event::Written { set: &set });
        self.written = Some(set);
        self.failures = 0;
        match self.after.run().await {
            None => {}
            Some(Ok(())) => self.tell.event(&Event::Done),
            Some(Err(failed)) => {
                self.tell.event(&Event::NotDone { why: &failed });
                if self.arguments.once {
                    return Err(Ended::Never(Failure::unavailable(failed)));
                }
            }
        }
        Ok(())
    }

    /// Says loudly when files near their end that should have been replaced long ago.
    fn warn(&self, now: UnixTime) {
        if let Some(event) = self.life.and_then(|life| late(life, now)) {
            self.tell.event(&event);
        }
    }
}

/// What there is to say of files that live so long.
fn late((from, until): (UnixTime, UnixTime), now: UnixTime) -> Option<Event<'static>> {
    let late = until.since(from).millis() / LATE_DENOMINATOR * LATE_NUMERATOR;
    if now >= until {
        return Some(Event::Expired { until });
    }
    let is_late = now >= from.plus(Span::from_millis(late));
    is_late.then(|| Event::Ending { until, left: until.since(now) })
}

async fn next<T>(
    stream: &mut Pin<&mut (impl Stream<Item = Result<T, CallError>> + ?Sized)>,
) -> Result<T, CallError> {
    let ended = || CallError::Unavailable { message: "the stream ended".to_owned() };
    stream.next().await.unwrap_or_else(|| Err(ended()))
}

async fn next_wit(stream: Option<&mut Wits>) -> Result<WitAnswer, CallError> {
    match stream {
        None => std::future::pending().await,
        Some(stream) => next(&mut stream.as_mut()).await,
    }
}

async fn token_is_old(token: Option<&(JwtAnswer, UnixTime)>) {
    match token {
        None => std::future::pending().await,
        Some((_, at)) => tokio::time::sleep(at.since(SystemClock::read()).duration()).await,
    }
}

/// Whether to try again after this.
fn ended(identity: &Identity, error: &CallError) -> Ended {
    let failure = identity.failure(error);
    match error {
        CallError::Invalid { .. } | CallError::Unimplemented { .. } => Ended::Never(failure),
        _ => Ended::Again(failure),
    }
}

/// A mode in octal that lets nobody but owner and group read, and nobody but the owner write.
fn secret_mode(text: &str) -> Result<u32, NotASecretMode> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| NotASecretMode::Form)?;
    match mode {
        _ if mode & !0o640 != 0 => Err(NotASecretMode::Open),
        _ if mode & 0o400 == 0 => Err(NotASecretMode::Closed),
        _ => Ok(mode),
    }
}

/// Why a text is no mode for a file with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotASecretMode {
    #[error("write it in octal: `0600`")]
    Form,
    #[error("too open for a key: at most the owner may write and the group read, `0640`")]
    Open,
    #[error("its owner could not read it")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_not_replaced_in_time_are_warned_of() {
        let at = UnixTime::from_seconds;
        let check = |now, expect: &str| {
            let said = match late((at(100), at(500)), at(now)) {
                None => "nothing".to_owned(),
                Some(Event::Ending { left, .. }) => format!("{} left", left.seconds()),
                Some(Event::Expired { .. }) => "expired".to_owned(),
                Some(_) => "something else".to_owned(),
            };
            assert_eq!(said, expect, "{now}");
        };
        check(0, "nothing");
        check(399, "nothing");
        check(400, "100 left");
        check(499, "1 left");
        check(500, "expired");
        check(9_000, "expired");
    }

    #[test]
    fn a_secret_is_never_for_everybody() {
        for (text, expect) in [
            ("0600", Ok(0o600)),
            ("640", Ok(0o640)),
            ("0400", Ok(0o400)),
            ("0644", Err(NotASecretMode::Open)),
            ("0660", Err(NotASecretMode::Open)),
            ("0700", Err(NotASecretMode::Open)),
            ("4600", Err(NotASecretMode::Open)),
            ("0040", Err(NotASecretMode::Closed)),
            ("0", Err(NotASecretMode::Closed)),
            ("rw", Err(NotASecretMode::Form)),
            ("", Err(NotASecretMode::Form)),
        ] {
            assert_eq!(secret_mode(text), expect, "{text}");
        }
    }
}
