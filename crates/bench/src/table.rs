//! Which figures there are, how often each is measured, and what it must reach.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::rows::Engine;
use crate::stats::median;

const MB: f64 = 1_000_000.0;
/// A cell that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(420);

/// What is to be measured.
pub(crate) struct Plan {
    /// Shorter windows and fewer runs: to see that it works, not to quote.
    pub(crate) is_quick: bool,
    /// One figure; empty: all.
    pub(crate) only: String,
    /// Of the latencies; throughput is measured on both.
    pub(crate) database: Engine,
    /// The release binary.
    pub(crate) service: PathBuf,
}

/// A line of the table.
struct Line {
    figure: String,
    measured: String,
    bar: String,
    is_met: bool,
}

/// Measures one or more lines.
type Measure = fn(&Plan) -> Outcome<Vec<Line>>;

/// Measures and prints; whether every bar is met.
pub(crate) fn print(plan: &Plan, say: impl Fn(&str)) -> Outcome<bool> {
    let mut is_met = true;
    say("| figure | measured | bar | |\n|---|---|---|---|");
    let figures: [(&str, Measure); 7] = [
        ("throughput", throughput),
        ("alone", alone),
        ("mute", mute),
        ("stream", stream),
        ("waiting", waiting),
        ("urls", urls),
        ("idle", idle),
    ];
    for (name, measure) in figures {
        if !plan.only.is_empty() && plan.only != name {
            continue;
        }
        for line in measure(plan).map_err(|cause| format!("{name}: {cause}"))? {
            is_met &= line.is_met;
            let verdict = if line.is_met { "met" } else { "MISSED" };
            say(&format!("| {} | {} | {} | {verdict} |", line.figure, line.measured, line.bar));
        }
    }
    Ok(is_met)
}

impl Plan {
    fn runs(&self, full: usize) -> usize {
        if self.is_quick { 1 } else { full }
    }

    fn cells(&self, runs: usize, words: &[&str]) -> Outcome<Vec<Value>> {
        (0..self.runs(runs)).map(|_| cell(words)).collect()
    }
}

fn throughput(plan: &Plan) -> Outcome<Vec<Line>> {
    let events = if plan.is_quick { "4000" } else { "20000" };
    let mut lines = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let words = ["throughput", "--database", engine.as_str(), "--count", events];
        let cells = plan.cells(3, &words)?;
        let ratio = middle(&cells, "ratio");
        lines.push(Line {
            figure: format!("deliveries/s, {}, full sync", engine.as_str()),
            measured: format!(
                "{:.0}/s; bare {:.0}/s; ratio {ratio:.2}",
                middle(&cells, "perSecond"),
                middle(&cells, "bare")
            ),
            bar: "ratio 0.15".to_owned(),
            is_met: ratio >= 0.15,
        });
    }
    Ok(lines)
}

fn alone(plan: &Plan) -> Outcome<Vec<Line>> {
    let words = ["alone", "--database", plan.database.as_str(), "--alone", "10"];
    let cells = plan.cells(5, &words)?;
    let (p50, p99) = (middle(&cells, "/alone/p50"), middle(&cells, "/alone/p99"));
    Ok(vec![Line {
        figure: "committed to first byte, 100/s: p50, p99".to_owned(),
        measured: format!("{p50:.1} ms, {p99:.1} ms{}", lost(&cells)),
        bar: "3 ms, 15 ms".to_owned(),
        is_met: p50 <= 3.0 && p99 <= 15.0 && lost(&cells).is_empty(),
    }])
}

fn mute(plan: &Plan) -> Outcome<Vec<Line>> {
    let beside = if plan.is_quick { "10" } else { "20" };
    let cells = beside_the_dead(plan, 5, &["mute", "--alone", "10", "--beside", beside])?;
    Ok(vec![p99_beside("p99 beside 1,000 events to as many mute receivers", &cells)])
}

fn stream(plan: &Plan) -> Outcome<Vec<Line>> {
    let beside = if plan.is_quick { "10" } else { "65" };
    let cells = beside_the_dead(plan, 5, &["stream", "--alone", "10", "--beside", beside])?;
    Ok(vec![p99_beside(&format!("p99 beside a dead stream of 20/s for {beside} s"), &cells)])
}

fn waiting(plan: &Plan) -> Outcome<Vec<Line>> {
    let (events, beside) = if plan.is_quick { ("10000", "10") } else { ("100000", "20") };
    let words = ["waiting", "--alone", "10", "--beside", beside, "--count", events];
    let cells = beside_the_dead(plan, 3, &words)?;
    let grown = (middle(&cells, "/besideBytes") - middle(&cells, "/aloneBytes")) / MB;
    let memory = Line {
        figure: format!("memory with {events} waiting for one dead receiver"),
        measured: format!("{grown:+.1} MB"),
        bar: "+32 MB".to_owned(),
        is_met: grown <= 32.0,
    };
    Ok(vec![memory, p99_beside(&format!("p99 beside {events} waiting for one dead receiver"), &cells)])
}

fn urls(plan: &Plan) -> Outcome<Vec<Line>> {
    let events = if plan.is_quick { "2000" } else { "12000" };
    let cells = beside_the_dead(plan, 1, &["urls", "--alone", "10", "--beside", "20", "--count", events])?;
    Ok(vec![p99_beside(&format!("p99 beside {events} due URLs of one mute receiver"), &cells)])
}

fn beside_the_dead(plan: &Plan, runs: usize, words: &[&str]) -> Outcome<Vec<Value>> {
    plan.cells(runs, &[words, &["--database", plan.database.as_str()]].concat())
}

fn p99_beside(figure: &str, cells: &[Value]) -> Line {
    let (alone, beside) = (middle(cells, "/alone/p99"), middle(cells, "/beside/p99"));
    Line {
        figure: figure.to_owned(),
        measured: format!(
            "alone {alone:.1} ms, beside {beside:.1} ms; {:.0} POSTs to the dead{}",
            middle(cells, "/postsToMute"),
            lost(cells)
        ),
        bar: "alone + 5 ms".to_owned(),
        is_met: beside <= alone + 5.0 && lost(cells).is_empty(),
    }
}

fn idle(plan: &Plan) -> Outcome<Vec<Line>> {
    let service = plan.service.display().to_string();
    let retries = if plan.is_quick { "10000" } else { "100000" };
    // A round of looks comes once a minute: a shorter time would have all of one or none.
    let words = ["idle", "--service", &service, "--count", retries, "--beside", "60"];
    let cells = plan.cells(1, &words)?;
    let of_deliveries = middle(&cells, "/deliveryQueriesPerSecond");
    let of_all = middle(&cells, "/queriesPerSecond");
    let wakes = middle(&cells, "/wakesPerSecond");
    let share = middle(&cells, "/shareBytes") / MB;
    Ok(vec![
        Line {
            figure: format!(
                "idle, {retries} retries: queries of deliveries; of the whole service; wake-ups; CPU"
            ),
            measured: format!(
                "{of_deliveries:.2}/s; {of_all:.2}/s; {wakes:.2}/s; {:.2} %",
                middle(&cells, "/cpuPercent")
            ),
            bar: "1/s of each".to_owned(),
            is_met: [of_deliveries, of_all, wakes].iter().all(|per_second| *per_second <= 1.0),
        },
        Line {
            figure: format!("memory of the idle service ({:.0} processes)", middle(&cells, "/processes")),
            measured: format!(
                "{share:.1} MB Pss without libraries; {:.1} MB private to the first",
                middle(&cells, "/privateBytes") / MB
            ),
            bar: "40 MB".to_owned(),
            is_met: share <= 40.0,
        },
    ])
}

/// The median over the runs of a field, by name or by JSON pointer.
fn middle(cells: &[Value], field: &str) -> f64 {
    let read = |cell: &Value| cell.get(field).or_else(|| cell.pointer(field)).and_then(Value::as_f64);
    median(cells.iter().filter_map(read).collect())
}

/// What never came, if anything did not.
fn lost(cells: &[Value]) -> String {
    let count = |cell: &Value| {
        let of = |window| cell.pointer(window).and_then(Value::as_u64).unwrap_or(0);
        of("/alone/lost") + of("/beside/lost")
    };
    match cells.iter().map(count).sum::<u64>() {
        0 => String::new(),
        lost => format!("; {lost} NEVER CAME"),
    }
}

/// Measures one figure in a process of its own.
fn cell(words: &[&str]) -> Outcome<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg("cell").args(words).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().ok_or("no output")?;
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let succeeded = wait(&mut child)?;
    let text = reading.join().map_err(|_| "the reader broke")??;
    if !succeeded {
        return Err(format!("`cell {}` failed", words.join(" ")).into());
    }
    let measured = serde_json::from_str(text.trim())?;
    eprintln!("{}: {measured}", words.join(" "));
    Ok(measured)
}

fn wait(child: &mut Child) -> Outcome<bool> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Err("it took too long".into())
}
