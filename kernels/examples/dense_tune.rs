//! tuning
use late_fast_kernels::decoder::{Batch, EntryLoss, decoder_step, scratch_len};
use late_fast_kernels::dense_step::*;
use late_fast_kernels::encoder::encoder_step;
use late_fast_kernels::gemm_bf16::{pack_right, panel_words};
use late_fast_kernels::paired::{pack_rows, words};
use late_fast_kernels::spmm::spmm;
use late_fast_kernels::testing::*;
use late_fast_kernels::*;
use std::time::Instant;

const K: usize = 800;

fn rows(rng: &mut Rng, n: usize, lo: f32, hi: f32) -> AlignedWords {
    let mut out = AlignedWords::zeros(n * words(K));
    for (i, row) in out.chunks_exact_mut(words(K)).enumerate() {
        let _ = i;
        let x = rng.vec(K, lo, hi);
        pack_rows(Isa::detect(), row, &x, 1, K);
    }
    out
}

struct Part {
    w: AlignedWords,
    m: AlignedWords,
    v: AlignedWords,
    bias: [Vec<f32>; 3],
    targets: OwnedCsr,
    by_sample: Vec<OwnedCsr>,
    by_sample_256: Vec<OwnedCsr>,
    dd: Aligned,
    scratch: AlignedWords,
    sparse_scratch: Vec<f32>,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[1].parse().unwrap();
    let f: usize = args[2].parse().unwrap();
    let density: f64 = args[3].parse().unwrap();
    let threads: usize = args[4].parse().unwrap();
    let only = args.get(5).cloned().unwrap_or_default();
    let rng = &mut Rng::new(1);
    let isa = Isa::detect();
    let d = Aligned::new(&rng.vec(n * K, -1.0, 1.0));
    let mut d_rows = AlignedWords::zeros(n * words(K));
    pack_rows(isa, &mut d_rows, &d, n, K);
    let [a, b] = hidden_words(n, K);
    let (mut fo, mut fw) = (AlignedWords::zeros(a), AlignedWords::zeros(b));
    pack_hidden(isa, &mut fo, &mut fw, &d, n, K);
    let mut dh = AlignedWords::zeros(panel_words(n, K));
    pack_right(isa, &mut dh, DenseView::new(&d, n, K));
    let adam = Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10);
    let mut parts: Vec<Part> = (0..threads)
        .map(|_| {
            let f = f / threads;
            let x = OwnedCsr::random(n, f, density, Spread::Skewed, rng);
            Part {
                w: rows(rng, f, -0.05, 0.05),
                m: rows(rng, f, -0.01, 0.01),
                v: rows(rng, f, 1e-4, 1e-2),
                bias: [rng.vec(f, 0.2, 0.8), rng.vec(f, -0.01, 0.01), rng.vec(f, 1e-4, 1e-2)],
                targets: x.transpose(),
                by_sample: x.column_blocks(128),
                by_sample_256: x.column_blocks(256),
                dd: Aligned::new(&vec![0.0; n * K]),
                scratch: AlignedWords::zeros(scratch_words(n, 256)),
                sparse_scratch: vec![0.0; scratch_len(n, 128, n * 128, K)],
            }
        })
        .collect();
    let sparse_dec = |p: &mut Part| {
        let mut from = 0;
        let nf = p.targets.n_rows;
        let targets = p.targets.view();
        let [bias, bm, bv] = &mut p.bias;
        let mut rest = WideLayerMut::<Bf16> {
            weights: WideWeightsMut { w: &mut p.w, m: &mut p.m, v: &mut p.v, first: 0 },
            bias, bias_m: bm, bias_v: bv,
        };
        let mut l = 0.0;
        for block in &p.by_sample {
            let len = 128.min(nf - from);
            let head;
            (head, rest) = rest.split_at(len, K);
            let batch = Batch { targets: targets.rows(from..from + len), by_sample: block.view(), d: &d, d_rows: &d_rows };
            l += decoder_step::<Bf16>(isa, &mut p.dd, head, batch, &mut p.sparse_scratch, K, 1e-4, &adam, EntryLoss::MaskedSquare);
            from += len;
        }
        std::hint::black_box(l);
    };
    let dense_dec = |p: &mut Part| {
        let mut from = 0;
        let nf = p.targets.n_rows;
        let targets = p.targets.view();
        let [bias, bm, bv] = &mut p.bias;
        let mut rest = WideLayerMut::<Bf16> {
            weights: WideWeightsMut { w: &mut p.w, m: &mut p.m, v: &mut p.v, first: 0 },
            bias, bias_m: bm, bias_v: bv,
        };
        let mut l = 0.0;
        while from < nf {
            let len = 256.min(nf - from);
            let head;
            (head, rest) = rest.split_at(len, K);
            let batch = DenseBatch { targets: targets.rows(from..from + len), d: Hidden { for_outputs: &fo, for_weights: &fw } };
            l += decoder_step_dense(isa, &mut p.dd, head, batch, &mut p.scratch, K, 1e-4, &adam, EntryLoss::MaskedSquare);
            from += len;
        }
        std::hint::black_box(l);
    };
    let sparse_fwd = |p: &mut Part| {
        for (b, w) in p.by_sample.iter().zip(p.w.chunks(128 * words(K))) {
            spmm::<Bf16>(isa, &mut p.dd, b.view(), w, K);
        }
    };
    let dense_fwd = |p: &mut Part| {
        for (b, w) in p.by_sample_256.iter().zip(p.w.chunks(256 * words(K))) {
            encoder_forward_dense(isa, &mut p.dd, b.view(), w, &mut p.scratch, K);
        }
    };
    let sparse_enc = |p: &mut Part| {
        let layer = WideWeightsMut::<Bf16> { w: &mut p.w, m: &mut p.m, v: &mut p.v, first: 0 };
        encoder_step::<Bf16>(isa, layer, p.targets.view(), &d_rows, K, &adam);
    };
    let dense_enc = |p: &mut Part| {
        let layer = WideWeightsMut::<Bf16> { w: &mut p.w, m: &mut p.m, v: &mut p.v, first: 0 };
        let mut rest = layer;
        let (nf, mut from) = (p.targets.n_rows, 0);
        while from < nf {
            let len = 256.min(nf - from);
            let head;
            (head, rest) = rest.split_at(len, K);
            encoder_step_dense(isa, head, p.targets.view().rows(from..from + len), &dh, &mut p.scratch, K, &adam);
            from += len;
        }
    };
    let zero: Vec<f32> = vec![0.0; K * 256];
    let adam_only = |p: &mut Part| {
        let layer = WideWeightsMut::<Bf16> { w: &mut p.w, m: &mut p.m, v: &mut p.v, first: 0 };
        let mut rest = layer;
        let (nf, mut from) = (p.targets.n_rows, 0);
        while from < nf {
            let len = 256.min(nf - from);
            let head;
            (head, rest) = rest.split_at(len, K);
            late_fast_kernels::adam::adam_rows::<Bf16>(isa, head, &zero[..len * K], K, &adam);
            from += len;
        }
    };
    type F<'a> = (&'a str, &'a (dyn Fn(&mut Part) + Sync));
    let all: [F<'_>; 7] = [
        ("decoder sparse", &sparse_dec), ("decoder dense", &dense_dec),
        ("forward sparse", &sparse_fwd), ("forward dense", &dense_fwd),
        ("encstep sparse", &sparse_enc), ("encstep dense", &dense_enc), ("adam rows", &adam_only),
    ];
    let which: Vec<&F<'_>> = all.iter().filter(|(name, _)| name.contains(&only)).collect();
    let mut times = vec![vec![]; which.len()];
    let rounds = if n * f > 10_000_000 { 15 } else if n * f > 1_000_000 { 30 } else { 200 };
    for _ in 0..rounds {
        for (at, (_, run)) in which.iter().enumerate() {
            let barrier = &std::sync::Barrier::new(threads);
            let spent = std::thread::scope(|scope| {
                let all: Vec<_> = parts.iter_mut().map(|p| {
                    scope.spawn(move || {
                        flush_denormals();
                        barrier.wait();
                        let t = Instant::now();
                        run(p);
                        t.elapsed()
                    })
                }).collect();
                all.into_iter().map(|h| h.join().unwrap()).max().unwrap()
            });
            times[at].push(spent.as_secs_f64() * 1e3);
        }
    }
    for (t, (name, _)) in times.iter_mut().zip(&which) {
        t.sort_by(f64::total_cmp);
        println!("{name:16} min {:8.3} ms  quart {:8.3}", t[0], t[t.len() / 4]);
    }
}
