//! Reports how far long work is: on a terminal by a bar with the rate and the time left, elsewhere by a line every few
//! seconds, and in metrics. It writes to standard error, because standard output is for the result.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kernel::process::telemetry::names;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress of one piece of work.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    begun: Instant,
    reported: Mutex<Instant>,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Progress of work on about `total` rows. `what` names the work in lines and metrics.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
            let style =
                ProgressStyle::with_template("{msg} [{bar:30}] {human_pos}/{human_len} rows, {per_sec}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_message(what);
            bar
        });
        metrics::gauge!(names::IMPORT_ROWS_EXPECTED, "work" => what).set(total as f64);
        let now = Instant::now();
        Self {
            bar,
            what,
            total,
            begun: now,
            reported: Mutex::new(now),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Progress that is not reported.
    pub fn quiet() -> Self {
        let now = Instant::now();
        let bar = Some(ProgressBar::hidden());
        Self {
            bar,
            what: "",
            total: 0,
            begun: now,
            reported: Mutex::new(now),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Adds rows, and the bytes that they needed.
    pub fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if !self.what.is_empty() {
            metrics::counter!(names::IMPORT_ROWS, "work" => self.what).increment(rows);
            metrics::counter!(names::IMPORT_BYTES, "work" => self.what).increment(bytes);
            metrics::gauge!(names::IMPORT_REMAINING, "work" => self.what).set(self.left());
        }
        match &self.bar {
            Some(bar) => {
                // The total is only an estimate of the server.
                if self.rows() > self.total {
                    bar.set_length(self.rows());
                }
                bar.set_position(self.rows());
            }
            None => {
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                if reported.elapsed() >= PAUSE {
                    *reported = Instant::now();
                    eprintln!("{}", self.line());
                }
            }
        }
    }

    /// Counts a table as done.
    pub fn table(&self) {
        metrics::counter!(names::IMPORT_TABLES, "work" => self.what).increment(1);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Ends the report.
    pub fn finish(&self) {
        if !self.what.is_empty() {
            metrics::gauge!(names::IMPORT_REMAINING, "work" => self.what).set(0);
        }
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None if self.rows() > 0 => eprintln!("{}", self.line()),
            None => {}
        }
    }

    fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    fn rate(&self) -> f64 {
        self.rows() as f64 / self.seconds().max(0.001)
    }

    /// Seconds that the rest takes at the rate so far.
    fn left(&self) -> f64 {
        self.total.saturating_sub(self.rows()) as f64 / self.rate().max(0.001)
    }

    fn line(&self) -> String {
        let (rows, seconds) = (self.rows(), self.seconds().max(0.001));
        let (rate, left) = (self.rate(), self.left());
        let megabytes = match self.bytes() {
            // Work that compares rows moves no bytes.
            0 => String::new(),
            bytes => format!(", {:.1} MB/s", bytes as f64 / seconds / 1e6),
        };
        format!(
            "{}: {rows} of about {} rows, {rate:.0} rows/s{megabytes}, {left:.0} s left",
            self.what,
            self.total.max(rows)
        )
    }
}
