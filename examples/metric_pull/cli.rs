//! The flags.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::Parser;

use super::failure::Failure;

/// Pulls billing metrics for many tenants from a flaky upstream through tower-rampart, and then naively, and compares.
#[derive(Clone, Debug, Parser)]
#[command(name = "metric_pull", after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// How many tenants to pull
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tenants: u32,
    /// How often to pull each tenant
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) pulls: u32,
    /// How many milliseconds from one pull of a tenant to the next
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) every: u32,
    /// How many pulls to run at once, at most; a pull that finds no room starts late
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,
    /// Decides which answers of the embedded upstream fail
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Pull from this server (http://HOST[:PORT][/PATH]) instead of the embedded one
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Where to keep answers that were truncated or malformed, one JSON object a line; an existing file is replaced
    #[arg(long, value_name = "PATH", default_value = "dead-letters.jsonl")]
    pub(crate) dead_letters: PathBuf,
    /// Draw the requests per second at the upstream, by group of tenants; an existing file is replaced
    #[arg(long, value_name = "PATH")]
    pub(crate) svg: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Both runs pull at the same moments: through the layers from one embedded upstream, naively from another just like it.
The upstream misbehaves by group of tenants. Of every 40 tenants 27 are healthy (5 % of their answers are 503), 3 down
(503), 2 throttled (two answers a second, then 429 with Retry-After: 1), 2 hanging, 1 resetting (every fourth
connection), 1 recovering (503 from a fifth to a half of the run), 2 unauthorized (401) and 2 truncated; other numbers of
tenants are split in the same proportion, by largest remainder, with at least one healthy. Tenants are named by group, as
in healthy-01.

A real upstream is asked for GET /v1/tenants/{id}/metrics, for the same tenants and below the path of its URL. Then the
requests it received are counted where they leave this program, and the groups mean no more than their names.

At most 8 pulls of one tenant run at once. With more than a few hundred pulls at once, mind the limit of open files.

A flag, an upstream or a path that cannot be used ends in one line on stderr and exit code 2.";

impl Options {
    /// Nothing if all that was asked for was `--help`, which is printed to `out`.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = OsString>,
        out: &mut impl Write,
    ) -> Result<Option<Self>, Failure> {
        let error = match Self::try_parse_from(args) {
            Ok(options) => return Ok(Some(options)),
            Err(error) => error,
        };
        let text = error.render().to_string();
        if error.use_stderr() {
            // What follows the first paragraph is the usage; that is what --help is for.
            let first = text.split("\n\n").next().unwrap_or_default();
            let problem = first.strip_prefix("error: ").unwrap_or(first).trim();
            return Err(Failure::new(format!("{problem} (--help tells more)")));
        }
        super::print(out, &text)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Options>, String> {
        let args = ["metric_pull"].iter().chain(args).map(OsString::from);
        Options::parse(args, &mut Vec::new()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_flags_the_defaults_of_the_main_job_stand() {
        let options = parse(&[]).unwrap().unwrap();
        assert_eq!((options.tenants, options.pulls, options.every, options.concurrency), (40, 50, 100, 128));
        assert!(options.upstream.is_none() && options.svg.is_none() && !options.json);
    }

    #[test]
    fn a_bad_flag_is_one_line_that_names_it() {
        for (args, says) in [
            (vec!["--tenants", "0"], "--tenants"),
            (vec!["--tenants", "100001"], "--tenants"),
            (vec!["--pulls", "0"], "--pulls"),
            (vec!["--pulls", "many"], "--pulls"),
            (vec!["--every", "0"], "--every"),
            (vec!["--every", "60001"], "--every"),
            (vec!["--svg"], "--svg"),
            (vec!["--concurrency", "0"], "--concurrency"),
            (vec!["--concurrency", "-1"], "-1"),
            (vec!["--seed", "1.5"], "--seed"),
            (vec!["--seed", "a\nb"], "--seed"),
            (vec!["--seed"], "--seed"),
            (vec!["--fast"], "--fast"),
            (vec!["extra"], "extra"),
        ] {
            let failure = parse(&args).unwrap_err();
            assert!(failure.contains(says) && !failure.contains('\n'), "{args:?}: {failure}");
        }
    }

    #[test]
    fn help_is_printed_and_nothing_else_is_done() {
        let mut out = Vec::new();
        let options = Options::parse(["metric_pull", "--help"].map(OsString::from), &mut out).unwrap();
        let help = String::from_utf8(out).unwrap();
        assert!(options.is_none() && help.contains("--dead-letters") && help.contains("largest remainder"));
    }
}
