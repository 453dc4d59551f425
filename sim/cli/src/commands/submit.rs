//! `sim submit slurm|hq FILE`: the shards of a sweep as an array of jobs.
//!
//! Two scripts are written into the folder of the sweep: one for a task of the array, which carries out the
//! shard whose number the scheduler gives it, and one that merges the shards. With Slurm, the merge is a job
//! that waits for the array; HyperQueue has no dependencies between jobs, and the merge is left to a person.
//! What a scheduler says of its tasks is not relied on: the folder tells which runs are missing, and
//! `--failed` submits the shards that miss any. A task that is run twice finds its runs done.

use super::in_words;
use super::sweep::pool;
use crate::arguments::{Scheduler, SubmitArguments};
use crate::failure::{Exit, Failure};
use crate::repeat::quoted;
use crate::terminal;
use anyhow::{Context, Error};
use sim_lab::sweep::{self, MARKER, Plan, SHARDS, Shard, SweepFolder};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The folder of scripts in that of the sweep.
const SCRIPTS: &str = "submit";
/// The script of a task.
const TASK: &str = "task.sh";
/// The script that merges.
const MERGE: &str = "merge.sh";
/// The folder of what tasks say.
const LOG: &str = "log";

/// Submits what is missing of a sweep, or prints how that would be done.
pub(crate) fn submit(asked: &SubmitArguments) -> Result<(), Failure> {
    let plan = pool(None)?.install(|| Plan::load(&asked.file)).map_err(Failure::input)?;
    let runs = plan.runs().len();
    if asked.shards as usize > runs {
        let message =
            format!("--shards: found {}, expected 1 to {runs}, one run each", asked.shards);
        return Err(Failure::input(Error::msg(message)));
    }
    let out = asked.out.clone();
    let out = out.unwrap_or_else(|| ["results", "runs", &plan.sweep().name].iter().collect());
    let out = std::path::absolute(&out)
        .map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    let array = array(&plan, &out, asked)?;
    if array.is_empty() {
        terminal::note("no shard misses a run");
        return terminal::print(&format!("sim merge {}\n", quoted(&out.to_string_lossy())));
    }
    let job = Job::new(&plan, &out, array, asked)?;
    if asked.print {
        return terminal::print(&job.shown());
    }
    // Made, and let go of again: the merge writes to it when the shards are done.
    drop(
        SweepFolder::open(&out, &plan, Shard::ALL)
            .map_err(|error| Failure::input(Error::new(error).context("--out")))?,
    );
    job.write().map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
    job.submit()
}

/// The numbers of the shards that are to be carried out, in the form of an array.
fn array(plan: &Plan, out: &Path, asked: &SubmitArguments) -> Result<Vec<u32>, Failure> {
    let mut numbers = Vec::new();
    for index in 1..=asked.shards {
        let shard = Shard::read(&format!("{index}/{}", asked.shards), |_| None);
        let shard = shard.map_err(|error| Failure::input(Error::new(error).context("--shards")))?;
        let folder = out.join(SHARDS).join(shard.folder());
        if !asked.failed || !sweep::load(&folder, plan).missing(&plan.of_shard(shard)).is_empty() {
            numbers.push(index);
        }
    }
    Ok(numbers)
}

/// Numbers as schedulers take them: `1-5,8`.
fn ranges(numbers: &[u32]) -> String {
    let together = |one: &u32, next: &u32| one + 1 == *next;
    let range = |range: &[u32]| match range {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    numbers.chunk_by(together).map(range).collect::<Vec<_>>().join(",")
}

/// A job on its way to a scheduler.
struct Job {
    scheduler: Scheduler,
    name: String,
    out: PathBuf,
    /// The program, as the tasks call it.
    program: String,
    array: Vec<u32>,
    shards: u32,
    time: Duration,
}

impl Job {
    fn new(
        plan: &Plan,
        out: &Path,
        array: Vec<u32>,
        asked: &SubmitArguments,
    ) -> Result<Job, Failure> {
        let program = std::env::current_exe().context("the path of this program is not known");
        let program = program.map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
        Ok(Job {
            scheduler: asked.scheduler,
            name: format!("sim-{}", plan.sweep().name),
            out: out.to_owned(),
            program: program.to_string_lossy().into_owned(),
            array,
            shards: asked.shards,
            time: asked.time,
        })
    }

    fn place(&self, name: &str) -> String {
        self.out.join(name).to_string_lossy().into_owned()
    }

    fn script(&self, name: &str) -> String {
        self.place(&format!("{SCRIPTS}/{name}"))
    }

    fn task_script(&self) -> String {
        let (program, out) = (quoted(&self.program), quoted(&self.place("")));
        format!(
            "#!/bin/sh\n# One shard; which, says the scheduler.\nexec {program} sweep {} --out {} \
             --shard auto/{} --threads 1\n",
            quoted(&self.place(MARKER)),
            out.trim_end_matches('/'),
            self.shards
        )
    }

    fn merge_script(&self) -> String {
        let out = quoted(&self.out.to_string_lossy());
        format!("#!/bin/sh\nexec {} merge {out}\n", quoted(&self.program))
    }

    /// The command that submits the array.
    fn array_command(&self) -> Vec<String> {
        let (array, seconds) = (ranges(&self.array), self.time.as_secs().max(60));
        let words: Vec<String> = match self.scheduler {
            Scheduler::Slurm => vec![
                "sbatch".to_owned(),
                "--parsable".to_owned(),
                format!("--job-name={}", self.name),
                format!("--array={array}"),
                format!("--time={}", clock(seconds)),
                "--ntasks=1".to_owned(),
                "--cpus-per-task=1".to_owned(),
                format!("--output={}", self.place(&format!("{LOG}/%a.txt"))),
                self.script(TASK),
            ],
            Scheduler::Hq => vec![
                "hq".to_owned(),
                "--output-mode=quiet".to_owned(),
                "submit".to_owned(),
                format!("--name={}", self.name),
                format!("--array={array}"),
                format!("--time-limit={seconds}s"),
                "--cpus=1".to_owned(),
                format!("--stdout={}", self.place(&format!("{LOG}/%{{TASK_ID}}.txt"))),
                format!("--stderr={}", self.place(&format!("{LOG}/%{{TASK_ID}}.errors.txt"))),
                self.script(TASK),
            ],
        };
        words
    }

    /// The command that submits the merge, after the array with this number.
    fn merge_command(&self, array: &str) -> Option<Vec<String>> {
        match self.scheduler {
            Scheduler::Hq => None,
            Scheduler::Slurm => Some(vec![
                "sbatch".to_owned(),
                "--parsable".to_owned(),
                format!("--job-name={}-merge", self.name),
                // Also after tasks that failed: the merge tells what is missing.
                format!("--dependency=afterany:{array}"),
                format!("--time={}", clock(self.time.as_secs().max(60))),
                "--ntasks=1".to_owned(),
                format!("--output={}", self.place(&format!("{LOG}/merge.txt"))),
                self.script(MERGE),
            ]),
        }
    }

    fn shown(&self) -> String {
        let line = |words: Vec<String>| {
            words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ") + "\n"
        };
        let mut page = format!("# {}\n{}\n", self.script(TASK), self.task_script());
        page += &format!("# {}\n{}\n", self.script(MERGE), self.merge_script());
        page += &line(self.array_command());
        match self.merge_command("JOB") {
            Some(words) => page + &line(words),
            None => page + &format!("sim merge {}\n", quoted(&self.out.to_string_lossy())),
        }
    }

    fn write(&self) -> Result<(), Error> {
        for folder in [LOG, SCRIPTS] {
            let path = self.place(folder);
            fs::create_dir_all(&path).with_context(|| format!("{path}: cannot be made"))?;
        }
        for (name, text) in [(TASK, self.task_script()), (MERGE, self.merge_script())] {
            let path = self.script(name);
            fs::write(&path, text).with_context(|| format!("{path}: cannot be written"))?;
            make_executable(Path::new(&path))?;
        }
        Ok(())
    }

    fn submit(&self) -> Result<(), Failure> {
        let array = call(&self.array_command())?;
        let tasks = in_words(self.array.len(), "task");
        let mut page = format!("job {array}: {tasks}\n");
        let merge = match self.merge_command(&array) {
            Some(words) => format!("job {}: merge, after it\n", call(&words)?),
            None => format!("when it is over: sim merge {}\n", quoted(&self.out.to_string_lossy())),
        };
        page += &merge;
        terminal::print(&page)?;
        terminal::note(&format!("how far it is: sim status {}", self.out.display()));
        Ok(())
    }
}

/// Calls a scheduler, and returns the number of the job that it prints.
fn call(words: &[String]) -> Result<String, Failure> {
    let failed = |problem: String| Failure::new(Exit::NotCarriedOut, Error::msg(problem));
    let program = &words[0];
    let output = Command::new(program).args(&words[1..]).output().map_err(|error| {
        failed(format!(
            "{program}: cannot be started: {error}; --print shows what would be submitted"
        ))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(failed(format!("{program}: {}: {}", output.status, said.trim())));
    }
    // Slurm appends the cluster: `12;name`.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = said.trim().split(';').next().unwrap_or_default().to_owned();
    match number.chars().all(|letter| letter.is_ascii_digit()) && !number.is_empty() {
        true => Ok(number),
        false => {
            Err(failed(format!("{program}: found {:?}, expected the number of a job", said.trim())))
        }
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode)
        .with_context(|| format!("{}: cannot be made executable", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), Error> {
    Ok(())
}

/// Hours, minutes and seconds.
fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_ranges() {
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(ranges(&[4]), "4");
        assert_eq!(clock(3_661), "01:01:01");
        assert_eq!(clock(90_000), "25:00:00");
    }
}
