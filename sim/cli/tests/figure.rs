//! What `sim figure` writes, whatever the number of threads.

mod common;

use common::{files, sim};

const NAME: &str = "netherite-hello-latency";

#[test]
fn one_thread_and_two_draw_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut printed = Vec::new();
    let mut written = Vec::new();
    // Without the flag, the environment picks the number of threads.
    for (threads, flag) in [("1", &[][..]), ("2", &["--threads", "2"])] {
        let flags = [&["figure", NAME, "--seeds", "1", "--out", threads], flag].concat();
        let mut command = sim(folder.path(), &flags);
        let output = command.env("RAYON_NUM_THREADS", "1").output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        printed.push(String::from_utf8(output.stdout).expect("text"));
        let mut files = files(&folder.path().join(threads));
        assert!(files.remove("provenance.json").is_some());
        written.push(files);
    }
    assert_eq!(printed[0], printed[1]);
    assert!(printed[0].contains("simulated  measured  ratio"), "{}", printed[0]);
    let [one, two] = &written[..] else { unreachable!("two figures") };
    assert!(one == two);
    let names: Vec<&str> = one.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "experiment.toml",
            "netherite-hello-latency.png",
            "netherite-hello-latency.svg",
            "runs.csv",
            "table.csv",
        ]
    );
    assert!(one["netherite-hello-latency.png"].starts_with(b"\x89PNG"));
    assert!(one["netherite-hello-latency.svg"].starts_with(b"<svg"));
}
