// halo/loss.hpp: losses and reference points by name, and the small handles: blobs and cancel tokens.
//
// Every method that can fail has two forms: the plain one throws halo::error, try_ returns a halo::result.
#ifndef HALO_LOSS_HPP
#define HALO_LOSS_HPP

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "batch.hpp"
#include "core.hpp"
#include "span.hpp"

namespace halo {

// Bytes that the library made, for as long as this lives.
class blob {
public:
  explicit blob(handle<halo_blob> owned) noexcept : handle_(std::move(owned)) {}

  std::string_view text() const noexcept {
    std::size_t size = 0;
    const char *data = halo_blob_data(handle_.get(), &size);
    return {data, size};
  }
  std::string str() const { return std::string(text()); }
  const char *data() const noexcept { return text().data(); }
  std::size_t size() const noexcept { return text().size(); }
  halo_blob *get() const noexcept { return handle_.get(); }

private:
  handle<halo_blob> handle_;
};

namespace detail {

// A class over a handle, or why there is none.
template <class Class, class T> result<Class> wrap(result<handle<T>> made) {
  if (!made) return made.error();
  return Class(std::move(*made));
}
// The text of a blob.
inline result<std::string> text(result<handle<halo_blob>> made) {
  if (!made) return made.error();
  return blob(std::move(*made)).str();
}

} // namespace detail

// Stops a long call that it was given to, from any thread.
class cancel {
public:
  explicit cancel(handle<halo_cancel> owned) noexcept : handle_(std::move(owned)) {}
  static result<cancel> try_new() { return detail::wrap<cancel>(try_make(halo_cancel_new)); }
#if HALO_EXCEPTIONS
  cancel() : handle_(make(halo_cancel_new)) {}
#endif

  // Allowed in a signal handler, too.
  void request() const noexcept { halo_cancel_request(handle_.get()); }
  void reset() const noexcept { halo_cancel_reset(handle_.get()); }
  halo_cancel *get() const noexcept { return handle_.get(); }

private:
  handle<halo_cancel> handle_;
};

// A loss with its parameters; many threads may use one at once.
class loss {
public:
  explicit loss(handle<halo_loss> owned) noexcept : handle_(std::move(owned)) {}
  // A name such as "kto" or "dpo + 0.5*sft"; parameters as JSON, such as {"beta": 0.1}.
  static result<loss> try_new(const std::string &name, const std::string &params_json = {}) {
    return detail::wrap<loss>(try_make(halo_loss_new, name, params_json));
  }

  // Adds the batch's scored rows (or pairs), completion tokens and desirable tokens to counts.
  template <class Real> result<void> try_count(const batch<Real> &rows, span<double> counts) const {
    if (auto fits = rows.check(); !fits) return fits;
    return try_call(halo_loss_count, handle_, rows, counts.data(), counts.size());
  }
  // Value and gradient in one pass; the value is this batch's share of the global mean.
  template <class Real> result<double> try_evaluate(const batch<Real> &rows, const outputs<Real> &places) const {
    if (auto fits = rows.check(); !fits) return fits.error();
    if (auto fits = places.check(rows); !fits) return fits.error();
    halo_loss_result raw = places.raw();
    if (auto done = try_call(halo_loss_evaluate, handle_, rows, &raw); !done) return done.error();
    return raw.loss;
  }
  template <class Real> result<double> try_evaluate(const batch<Real> &rows, typename outputs<Real>::column d_logp) const {
    return try_evaluate(rows, outputs<Real>().d_logp(d_logp));
  }
  // JSON of summed outputs::metric_sums, under TRL's names.
  result<std::string> try_summarize(span<const double> metric_sums) const {
    return detail::text(try_make(halo_loss_summarize, handle_, metric_sums.data(), metric_sums.size()));
  }
  // JSON: formula, needed columns, effective parameters, reference point, where it saturates.
  result<std::string> try_describe() const { return detail::text(try_make(halo_loss_describe, handle_)); }
  std::size_t metric_count() const noexcept { return halo_loss_metric_count(handle_.get()); }
  halo_loss *get() const noexcept { return handle_.get(); }

#if HALO_EXCEPTIONS
  explicit loss(const std::string &name, const std::string &params_json = {}) : loss(try_new(name, params_json).value()) {}
  template <class Real> void count(const batch<Real> &rows, span<double> counts) const { try_count(rows, counts).value(); }
  template <class Real> double evaluate(const batch<Real> &rows, const outputs<Real> &places) const {
    return try_evaluate(rows, places).value();
  }
  template <class Real> double evaluate(const batch<Real> &rows, typename outputs<Real>::column d_logp) const {
    return try_evaluate(rows, d_logp).value();
  }
  std::string summarize(span<const double> metric_sums) const { return try_summarize(metric_sums).value(); }
  std::string describe() const { return try_describe().value(); }
#endif

private:
  handle<halo_loss> handle_;
};

// An estimator of z0: accumulate every micro-batch, sum over the ranks, finish once a step.
class refpoint {
public:
  explicit refpoint(handle<halo_refpoint> owned) noexcept : handle_(std::move(owned)) {}
  static result<refpoint> try_new(const std::string &name, const std::string &params_json = {}) {
    return detail::wrap<refpoint>(try_make(halo_refpoint_new, name, params_json));
  }
  // The estimator that a loss is set to.
  static result<refpoint> try_of(const loss &of) { return detail::wrap<refpoint>(try_make(halo_refpoint_of_loss, of)); }

  // How many numbers `sums` are; most estimators do not look at groups.
  std::size_t width(std::size_t groups = 0) const noexcept { return halo_refpoint_width(handle_.get(), groups); }
  template <class Real> result<void> try_accumulate(const batch<Real> &rows, span<double> sums) const {
    if (auto fits = rows.check(); !fits) return fits;
    return try_call(halo_refpoint_accumulate, handle_, rows, sums.data(), sums.size());
  }
  result<halo_refpoint_value> try_finish(span<const double> sums) {
    halo_refpoint_value value = init<halo_refpoint_value>();
    if (auto done = try_call(halo_refpoint_finish, handle_, sums.data(), sums.size(), &value); !done) return done.error();
    return value;
  }
  // z0 for each row, for estimators that leave the row itself out.
  template <class Real> result<void> try_apply(const batch<Real> &rows, span<double> row_values) const {
    if (auto fits = rows.check(); !fits) return fits;
    return try_call(halo_refpoint_apply, handle_, rows, row_values.data(), row_values.size());
  }
  result<blob> try_save() const { return detail::wrap<blob>(try_make(halo_refpoint_save, handle_)); }
  result<void> try_load(std::string_view saved) {
    return try_call(halo_refpoint_load, handle_, saved.data(), saved.size());
  }
  halo_refpoint *get() const noexcept { return handle_.get(); }

#if HALO_EXCEPTIONS
  explicit refpoint(const std::string &name, const std::string &params_json = {})
      : refpoint(try_new(name, params_json).value()) {}
  explicit refpoint(const loss &of) : refpoint(try_of(of).value()) {}
  template <class Real> void accumulate(const batch<Real> &rows, span<double> sums) const { try_accumulate(rows, sums).value(); }
  halo_refpoint_value finish(span<const double> sums) { return try_finish(sums).value(); }
  template <class Real> void apply(const batch<Real> &rows, span<double> row_values) const { try_apply(rows, row_values).value(); }
  blob save() const { return try_save().value(); }
  void load(std::string_view saved) { try_load(saved).value(); }
#endif

private:
  handle<halo_refpoint> handle_;
};

} // namespace halo

#endif // HALO_LOSS_HPP
