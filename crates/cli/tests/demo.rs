//! The main job on real input: what `halo demo` promises.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_turns_a_careless_model_into_a_careful_one_at_every_seed() {
    for seed in 1..=3 {
        let out =
            std::env::temp_dir().join(format!("halo-demo-test-{}-{seed}", std::process::id()));
        let output = Command::new(env!("CARGO_BIN_EXE_halo"))
            .args(["demo", "--json", "--seed", &seed.to_string(), "--out"])
            .arg(&out)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        // One line a step, then the report.
        let report = lines.last().unwrap();
        assert_eq!(lines.len() - 1, report["steps"].as_u64().unwrap() as usize);
        let rate = |key: &str| report[key]["rate"].as_f64().unwrap();
        println!(
            "seed {seed}: {} → {}",
            rate("desirable_before"),
            rate("desirable_after")
        );
        assert!(rate("desirable_before") <= 0.60, "{report}");
        assert!(rate("desirable_after") >= 0.90, "{report}");
        assert_eq!(report["desirable_after"]["n"], 600);
        for file in [
            "run/metrics.jsonl",
            "run/examples.jsonl",
            "run/model.safetensors",
            "run/run.toml",
        ] {
            assert!(out.join(file).is_file(), "{file}");
        }
        std::fs::remove_dir_all(out).unwrap();
    }
}
