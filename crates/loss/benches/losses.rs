//! What a step's loss costs on the host: every loss of the registry on a step's rows and tokens.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use halo_loss::{
    Batch, Label, Loss, Normalizer, Params, Row, TokenColumns, advantage, evaluate, registry,
};
use std::hint::black_box;

/// Log-ratios spread over ±40 nats, labels in turn, so that paired losses read them too.
fn rows(n: usize) -> Vec<Row> {
    let row = |i: usize| {
        let ref_logp = -60.0 - (i * 37 % 100) as f64;
        Row {
            logp: ref_logp + ((i * 61 % 800) as f64 - 400.0) / 10.0,
            ref_logp,
            old_logp: ref_logp + ((i * 53 % 800) as f64 - 400.0) / 20.0,
            tokens: 20 + (i % 30) as u32,
            label: if i.is_multiple_of(2) {
                Label::Desirable
            } else {
                Label::Undesirable
            },
            group: (i / 4) as u32,
            score: (i * 29 % 16) as f64 / 16.0,
            ..Row::default()
        }
    };
    (0..n).map(row).collect()
}

/// Each row's sums, spread evenly over its tokens.
fn columns(rows: &[Row]) -> TokenColumns {
    let spread = |of: fn(&Row) -> f64| -> Vec<f64> {
        let row = |row: &Row| vec![of(row) / f64::from(row.tokens); row.tokens as usize];
        rows.iter().flat_map(row).collect()
    };
    TokenColumns {
        logps: spread(|row| row.logp),
        ref_logps: spread(|row| row.ref_logp),
        old_logps: spread(|row| row.old_logp),
        log_collisions: spread(|row| -f64::from(row.tokens)),
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    for spec in registry() {
        let loss = Loss::new(spec.name, &Params::new()).expect("defaults are allowed");
        for n in [32, 4096] {
            let mut rows = rows(n);
            if let Some(advantages) = loss.advantage() {
                advantage::assign(advantages, &mut rows);
            }
            let (columns, normalizer) = (columns(&rows), Normalizer::of(&loss, &rows));
            let batch = Batch {
                rows: &rows,
                tokens: columns.view(),
            };
            group.throughput(Throughput::Elements(n as u64));
            group.bench_with_input(BenchmarkId::new(spec.name, n), &batch, |bencher, batch| {
                bencher.iter(|| evaluate(&loss, black_box(*batch), &normalizer));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
