//! Which script an interpreter was told to run, by its arguments (ATT-02).
//!
//! The arguments are what the process shows of itself: they lie in its own memory, and it may write
//! there what it likes at any time. The kernel keeps no other account of a script:
//! `/proc/<pid>/exe` is the interpreter, also of a file that begins with `#!`. What is read here is
//! therefore called `argv_script`, and proves nothing alone (decision 0017).

/// The most arguments that are looked at: a script stands before its own.
pub const ARGUMENTS_MAX: usize = 256;

/// A program that runs what it is given as a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Its names, without a version.
    names: &'static [&'static str],
    /// Words before the script that say to run one: `run` of deno.
    commands: &'static [&'static str],
    /// Options without a value, beside single letters of `letters`.
    flags: &'static [&'static str],
    /// Single letters that may stand together behind one `-`: options without a value.
    letters: &'static str,
    /// Options whose value is the next argument.
    valued: &'static [&'static str],
    /// The option whose value is the script, where there is one: `-jar` of java.
    by: Option<&'static str>,
}

/// What is known of command lines. An option that is not here is not guessed at: then no script is
/// told. So it is of options that run something else (`-c`, `-e`, `-m`).
pub const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        commands: &[],
        flags: &[],
        letters: "bBdEiIOPqsSuvx",
        valued: &["-W", "-X", "--check-hash-based-pycs"],
        by: None,
    },
    Interpreter {
        names: &["node", "nodejs"],
        commands: &[],
        flags: &["--enable-source-maps", "--no-warnings", "--trace-warnings", "--inspect"],
        letters: "",
        valued: &["-r", "--require", "--import", "--loader", "-C", "--conditions"],
        by: None,
    },
    Interpreter {
        names: &["ruby"],
        commands: &[],
        flags: &[],
        letters: "adlnpsSvwWU",
        valued: &["-I", "-r", "-E", "-C"],
        by: None,
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh", "ksh"],
        commands: &[],
        flags: &["--norc", "--noprofile", "--posix", "--login", "--restricted"],
        letters: "abefhklmnprtuvxBCEHPT",
        valued: &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"],
        by: None,
    },
    Interpreter {
        names: &["perl"],
        commands: &[],
        flags: &[],
        letters: "acflnpsStTuUwWX",
        valued: &["-I", "-M"],
        by: None,
    },
    Interpreter {
        names: &["java"],
        commands: &[],
        flags: &["-server", "-client", "-ea", "-esa", "--enable-preview"],
        letters: "",
        valued: &["-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules"],
        by: Some("-jar"),
    },
    Interpreter {
        names: &["deno"],
        commands: &["run", "serve"],
        flags: &["--no-prompt", "--quiet", "--cached-only", "--no-lock", "--unstable"],
        letters: "ARNWESq",
        valued: &["-c", "--config", "--import-map", "--lock"],
        by: None,
    },
    Interpreter {
        names: &["bun"],
        commands: &["run"],
        flags: &["--silent", "--smol", "--bun", "--hot", "--watch"],
        letters: "",
        valued: &["-r", "--preload", "-c", "--config", "--cwd", "--env-file"],
        by: None,
    },
];

impl Interpreter {
    /// The one that a program of this path is: by its file name, whatever the version behind it.
    pub fn of(program: &str) -> Option<&'static Self> {
        let name = program.rsplit('/').next()?;
        let is_version =
            |rest: &str| rest.bytes().all(|b| b.is_ascii_digit() || b"._-".contains(&b));
        let is = |known: &&str| name.strip_prefix(*known).is_some_and(is_version);
        INTERPRETERS.iter().find(|one| one.names.iter().any(is))
    }

    /// The script that these arguments name, as they write it; the first of them is the program's
    /// own name. None where they name none, or do not read.
    pub fn script<'a>(&self, arguments: &[&'a str]) -> Option<&'a str> {
        let mut rest = arguments.iter().skip(1).take(ARGUMENTS_MAX).copied();
        let mut commands = self.commands;
        loop {
            let argument = rest.next()?;
            if self.by == Some(argument) {
                return rest.next().filter(|script| is_script(script));
            }
            if argument == "--" {
                return rest.next().filter(|script| is_script(script) && self.by.is_none());
            }
            if self.valued.contains(&argument) {
                rest.next()?;
            } else if commands.contains(&argument) {
                commands = &[];
            } else if !argument.starts_with(['-', '+']) {
                return Some(argument).filter(|script| is_script(script) && self.by.is_none());
            } else if !self.is_flag(argument) {
                return None;
            }
        }
    }

    /// An option that is complete in itself: known, letters that are known, or with its value
    /// behind a `=`; of Java those that begin like its own.
    fn is_flag(&self, argument: &str) -> bool {
        let is_letter = |letter: char| self.letters.contains(letter);
        let letters = argument.strip_prefix('-').filter(|letters| !letters.is_empty());
        self.flags.contains(&argument)
            || letters.is_some_and(|letters| letters.chars().all(is_letter))
            || (argument.starts_with("--") && argument.contains('='))
            || (self.by.is_some() && ["-D", "-X"].iter().any(|own| argument.starts_with(own)))
            || (self.names == ["deno"] && argument.starts_with("--allow-"))
    }
}

/// A file, as opposed to standard input, nothing, or an address.
fn is_script(argument: &str) -> bool {
    !argument.is_empty() && !argument.starts_with('-') && !argument.contains("://")
}

/// The arguments in `/proc/<pid>/cmdline`. A process that wrote over them may have left no end.
pub fn arguments(cmdline: &[u8]) -> Vec<&[u8]> {
    // proc_pid_cmdline(5): "The command-line arguments appear in this file as a set of strings
    // separated by null bytes ('\0'), with a further null byte after the last string."
    let whole = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    whole.split(|byte| *byte == 0).take(ARGUMENTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(program: &str, line: &str) -> Option<String> {
        let words: Vec<_> = line.split(' ').collect();
        Interpreter::of(program)?.script(&words).map(str::to_owned)
    }

    /// req: ATT-02 (part)
    #[test]
    fn s7_an_interpreter_is_told_by_its_program_and_its_script_by_its_arguments() {
        let check = |program: &str, line: &str, expect: Option<&str>| {
            assert_eq!(script(program, line).as_deref(), expect, "{program}: {line}");
        };
        check("/usr/bin/python3.11", "python3 agent.py --fast", Some("agent.py"));
        check("/usr/bin/python3", "python3 -uB -W ignore /opt/a.py", Some("/opt/a.py"));
        check("/usr/bin/python3", "python3 --check-hash-based-pycs never a.py", Some("a.py"));
        check("/usr/bin/python3", "python3 -- a.py", Some("a.py"));
        check("/usr/bin/node", "node --max-old-space-size=1 -r x a.js", Some("a.js"));
        check("/usr/bin/ruby3.1", "ruby -I lib a.rb", Some("a.rb"));
        check("/bin/dash", "sh -eu ./a.sh b", Some("./a.sh"));
        check("/bin/bash", "bash -o pipefail /a.sh", Some("/a.sh"));
        check("/usr/bin/perl5.36.0", "perl -w a.pl", Some("a.pl"));
        check("/opt/jdk/bin/java", "java -Xmx1g -Da=b -cp c -jar a.jar x", Some("a.jar"));
        check("/usr/bin/deno", "deno run --allow-net --allow-read=/a a.ts", Some("a.ts"));
        check("/usr/bin/bun", "bun run a.ts", Some("a.ts"));
        check("/usr/bin/bun", "bun a.ts", Some("a.ts"));
    }

    #[test]
    fn s7_what_does_not_read_names_no_script() {
        for (program, line) in [
            ("/usr/bin/python3", "python3 -c print() a.py"),
            ("/usr/bin/python3", "python3 -m http.server"),
            ("/usr/bin/python3", "python3"),
            ("/usr/bin/python3", "python3 -"),
            ("/usr/bin/python3", "python3 -W"),
            ("/usr/bin/python3", "python3 --unknown a.py"),
            ("/usr/bin/node", "node -e 1 a.js"),
            ("/usr/bin/node", "node https://a.example/a.js"),
            ("/bin/bash", "bash -c true a.sh"),
            ("/opt/jdk/bin/java", "java Main"),
            ("/opt/jdk/bin/java", "java -cp c -- Main"),
            ("/usr/bin/deno", "deno --unknown run a.ts"),
            ("/usr/bin/pythonista", "python3 a.py"),
            ("/usr/bin/cat", "cat a.py"),
            ("", ""),
        ] {
            assert_eq!(script(program, line), None, "{program}: {line}");
        }
    }

    #[test]
    fn s7_arguments_are_split_and_bounded() {
        let check = |cmdline: &[u8], expect: &[&[u8]]| assert_eq!(arguments(cmdline), expect);
        check(b"python3\0a b\0\0c\0", &[b"python3", b"a b", b"", b"c"]);
        check(b"written over", &[b"written over"]);
        check(b"", &[b""]);
        assert_eq!(arguments(&[0; 4_096]).len(), ARGUMENTS_MAX);
    }
}
