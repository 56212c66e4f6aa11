// halo/trainer.hpp: the training loop for a host that owns the model.
//
// The trainer says what to do, drive() has the host do it. Nothing of C calls back, so a host may throw where it likes: the other
// ranks are told first, then the exception goes on.
#ifndef HALO_TRAINER_HPP
#define HALO_TRAINER_HPP

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core.hpp"
#include "data.hpp"
#include "loss.hpp"
#include "span.hpp"

namespace halo {

// A run: loss, data, order, schedules, metrics; not the model, the optimizer or the collectives.
class trainer {
public:
  explicit trainer(handle<halo_trainer> owned) noexcept : handle_(std::move(owned)) {}
  // config_json has the keys of `halo train`'s files; rank and world_size are those of data parallelism.
  static result<trainer> try_new(const std::string &config_json, std::int32_t rank = 0, std::int32_t world_size = 1) {
    return detail::wrap<trainer>(try_make(halo_trainer_new, config_json, rank, world_size));
  }

  // All of the data on every rank; they do not change from here on.
  result<void> try_attach(const dataset &data, const std::string &role = "train") {
    return try_call(halo_trainer_attach, handle_, role, data);
  }
  // From the next step on.
  result<void> try_set(const std::string &key, const std::string &value_json) {
    return try_call(halo_trainer_set, handle_, key, value_json);
  }
  // JSON of the step completed last, under TRL's names.
  result<std::string> try_metrics() const { return detail::text(try_make(halo_trainer_metrics, handle_)); }
  result<blob> try_save() const { return detail::wrap<blob>(try_make(halo_trainer_save, handle_)); }
  result<void> try_load(std::string_view saved) { return try_call(halo_trainer_load, handle_, saved.data(), saved.size()); }
  halo_trainer *get() const noexcept { return handle_.get(); }

#if HALO_EXCEPTIONS
  explicit trainer(const std::string &config_json, std::int32_t rank = 0, std::int32_t world_size = 1)
      : trainer(try_new(config_json, rank, world_size).value()) {}
  void attach(const dataset &data, const std::string &role = "train") { try_attach(data, role).value(); }
  void set(const std::string &key, const std::string &value_json) { try_set(key, value_json).value(); }
  std::string metrics() const { return try_metrics().value(); }
  blob save() const { return try_save().value(); }
  void load(std::string_view saved) { try_load(saved).value(); }
#endif

private:
  handle<halo_trainer> handle_;
};

// What a host does with its model. A method that fails returns a number of its own, not 0, or throws. What work says of rows,
// tokens and flags is in halo_work.
class host {
public:
  virtual ~host() = default;

  // Log-probabilities of the rows into logps; log_collisions is empty unless work.flags ask for them.
  virtual std::int32_t forward(const halo_work &work, span<double> logps, span<double> log_collisions) = 0;
  // Adds the gradient that the seeds, d loss / d logp, give through the rows.
  virtual std::int32_t backward(const halo_work &work, span<const double> seeds) = 0;
  // Gradients summed over the ranks, clipped, one update with work.learning_rate, gradients zeroed.
  virtual std::int32_t optimizer_step(const halo_work &work, double &grad_norm) = 0;
  // Several ranks: adds over them, in place, with the same bits for all.
  virtual std::int32_t reduce(span<double>) { return 1; }
  virtual std::int32_t sync_reference(double /* mix */) { return 1; }
  // Saves the model after work.step steps, and beside it the trainer's state.
  virtual std::int32_t checkpoint(const halo_work &, const blob & /* state */) { return 0; }
  // A step is complete: trainer::metrics() are its.
  virtual std::int32_t stepped(const trainer &) { return 0; }
  // A rank failed, perhaps this one: gradients go. Whether to try the step again; every rank must say the same.
  virtual bool retry(const error &) { return false; }
};

namespace detail {

// Room for the numbers of answers.
struct numbers {
  std::vector<double> values, log_collisions;
};

inline std::int32_t serve(const trainer &trainer, host &host, const halo_work &work, numbers &room, halo_answer &answer) {
  const span<const double> given(work.values, work.values == nullptr ? 0 : work.value_count);
  switch (work.kind) {
  case HALO_WORK_FORWARD:
    room.values.assign(work.value_count, 0.0);
    room.log_collisions.assign((work.flags & HALO_WORK_COLLISIONS) != 0 ? work.value_count : 0, 0.0);
    answer.values = room.values.data();
    answer.value_count = room.values.size();
    answer.log_collisions = room.log_collisions.empty() ? nullptr : room.log_collisions.data();
    return host.forward(work, room.values, room.log_collisions);
  case HALO_WORK_REDUCE:
    room.values.assign(given.begin(), given.end());
    answer.values = room.values.data();
    answer.value_count = room.values.size();
    return host.reduce(room.values);
  case HALO_WORK_BACKWARD:
    return host.backward(work, given);
  case HALO_WORK_OPTIMIZER_STEP:
    return host.optimizer_step(work, answer.grad_norm);
  case HALO_WORK_SYNC_REFERENCE:
    return host.sync_reference(work.mix);
  case HALO_WORK_CHECKPOINT: {
    const auto state = trainer.try_save();
    return state ? host.checkpoint(work, *state) : state.error().code();
  }
  default: // of a newer library: refused, and all ranks learn of it
    return 1;
  }
}

} // namespace detail

// Trains to the end of the run. What the host threw is in `thrown`, if it is given.
inline result<void> try_drive(trainer &trainer, host &host, caught *thrown = nullptr) {
  caught own;
  caught &callbacks = thrown != nullptr ? *thrown : own;
  detail::numbers room;
  std::int32_t late = 0;
  for (;;) {
    halo_work work = init<halo_work>();
    if (auto next = try_call(halo_trainer_next, trainer, &work); !next) return next;
    if (work.kind == HALO_WORK_DONE) {
      return late == 0 ? result<void>() : error(HALO_E_CALLBACK, "host.stepped", "the host failed after the last step");
    }
    halo_answer answer = init<halo_answer>();
    answer.work_id = work.id;
    answer.dtype = HALO_F64;
    answer.host_code = late != 0 ? late : callbacks.run([&] { return detail::serve(trainer, host, work, room, answer); });
    late = 0;
    const auto done = try_call(halo_trainer_submit, trainer, &answer);
    if (done && work.kind == HALO_WORK_OPTIMIZER_STEP) {
      late = callbacks.run([&] { return host.stepped(trainer); });
    }
    if (done) continue;
    if (done.error().code() != HALO_E_PEER || !host.retry(done.error())) return done;
    callbacks.forget();
  }
}

#if HALO_EXCEPTIONS
// The same; throws what the host threw, or halo::error.
inline void drive(trainer &trainer, host &host) {
  caught thrown;
  const auto done = try_drive(trainer, host, &thrown);
  thrown.rethrow();
  done.value();
}
#endif

} // namespace halo

#endif // HALO_TRAINER_HPP
