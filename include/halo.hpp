// halo.hpp: libhalo for C++17 and later. Header-only: link with -lhalo as from C.
//
//   halo::loss kto("kto", R"({"beta": 0.1})");
//   halo::batch<double> batch;
//   batch.label(label).logp(logp).ref_logp(ref_logp).common_refpoint(z0);   // vectors, arrays or spans: borrowed
//   double value = kto.evaluate(batch, gradient);                           // gradient[i] = d value / d logp[i]
//
// A host with a model of its own derives from halo::host and is trained by halo::drive.
//
// Classes own their handle and move. Every method that can fail has two forms: the plain one throws halo::error; try_ returns a
// halo::result, and is all there is under -fno-exceptions. What has no class is called by halo::call(f, ..), halo::make(f, ..)
// and their try_ forms, which take any function of halo.h and leave the error record to the wrapper. Callbacks may throw: the
// exception waits until the call has returned.
//
// Beside it, for hosts that have these libraries: halo/torch.hpp and halo/torch_head.hpp (libtorch), halo/mpi.hpp.
#ifndef HALO_HPP
#define HALO_HPP

#include "halo/batch.hpp"
#include "halo/core.hpp"
#include "halo/data.hpp"
#include "halo/loss.hpp"
#include "halo/session.hpp"
#include "halo/span.hpp"
#include "halo/trainer.hpp"

#endif // HALO_HPP
