// halo/batch.hpp: halo_batch and halo_loss_result over spans, with every length checked.
//
// Both borrow: the vectors and arrays that the spans were made of must live until the last call that gets the batch, and must not
// grow meanwhile. A batch may be kept and used again; its columns are read anew by each call.
#ifndef HALO_BATCH_HPP
#define HALO_BATCH_HPP

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "core.hpp"
#include "span.hpp"

namespace halo {

// Rows of sequences; what each column means says halo_batch. Real is what log-probabilities are held in: float or double.
//
// A column of another length than the others is remembered, and refused by whatever call gets the batch, so that the setters
// need neither exceptions nor results.
template <class Real = double> class batch {
  static_assert(std::is_same_v<Real, float> || std::is_same_v<Real, double>, "columns are of float or double");

public:
  using column = span<const Real>;

  batch() noexcept { raw_.dtype = sizeof(Real) == sizeof(float) ? HALO_F32 : HALO_F64; }

  batch &label(span<const std::int8_t> values) { return row(raw_.label, values, "batch.label"); }
  batch &role(span<const std::uint8_t> values) { return row(raw_.role, values, "batch.role"); }
  batch &group(span<const std::uint64_t> values) { return row(raw_.group, values, "batch.group"); }
  batch &tokens(span<const std::int32_t> values) { return row(raw_.tokens, values, "batch.tokens"); }
  batch &logp(column values) { return row(raw_.logp, values, "batch.logp"); }
  batch &ref_logp(column values) { return row(raw_.ref_logp, values, "batch.ref_logp"); }
  batch &old_logp(column values) { return row(raw_.old_logp, values, "batch.old_logp"); }
  batch &reward(column values) { return row(raw_.reward, values, "batch.reward"); }
  batch &advantage(column values) { return row(raw_.advantage, values, "batch.advantage"); }
  batch &weight(column values) { return row(raw_.weight, values, "batch.weight"); }
  batch &beta_scale(column values) { return row(raw_.beta_scale, values, "batch.beta_scale"); }
  batch &refpoint(span<const double> values) { return row(raw_.refpoint, values, "batch.refpoint"); }

  // One more than rows: row i's tokens are offsets[i] to offsets[i + 1] of the token columns. Before them.
  batch &offsets(span<const std::int64_t> values) {
    const std::size_t rows = values.empty() ? 0 : values.size() - 1;
    tokens_ = values.empty() || values.back() < 0 ? 0 : static_cast<std::size_t>(values.back());
    return row(raw_.offsets, span<const std::int64_t>(values.data(), rows), "batch.offsets less one");
  }
  batch &token_mask(span<const std::uint8_t> values) { return token(raw_.token_mask, values, "batch.token_mask"); }
  batch &token_logp(column values) { return token(raw_.token_logp, values, "batch.token_logp"); }
  batch &token_ref_logp(column values) { return token(raw_.token_ref_logp, values, "batch.token_ref_logp"); }
  batch &token_old_logp(column values) { return token(raw_.token_old_logp, values, "batch.token_old_logp"); }
  batch &token_log_collision(column values) { return token(raw_.token_log_collision, values, "batch.token_log_collision"); }

  // z0 of all rows, nats.
  batch &common_refpoint(double nats) noexcept { return number(raw_.common_refpoint, nats); }
  // What all micro-batches and ranks add up to, from loss::count; without it this batch is all.
  batch &global(span<const double> counts) {
    if (counts.size() != 3) {
      fault("batch.global", counts.size(), 3);
      return *this;
    }
    raw_.global_count = counts[0];
    raw_.global_tokens = counts[1];
    raw_.global_desirable_tokens = counts[2];
    return *this;
  }
  batch &grad_scale(double factor) noexcept { return number(raw_.grad_scale, factor); }

  std::size_t rows() const noexcept { return raw_.rows; }
  std::size_t token_count() const noexcept { return tokens_; }
  // For calls of C. Of a batch with a column of a wrong length it has no size, so that C refuses it.
  const halo_batch *get() const noexcept { return &raw_; }
  // The column of a wrong length, if there is one.
  result<void> check() const { return fault_ ? result<void>(*fault_) : result<void>(); }

private:
  template <class Pointer, class T> batch &row(Pointer &place, span<const T> values, const char *name) {
    if (!sized_) raw_.rows = values.size();
    sized_ = true;
    if (values.size() != raw_.rows) fault(name, values.size(), raw_.rows);
    place = values.data();
    return *this;
  }
  template <class Pointer, class T> batch &token(Pointer &place, span<const T> values, const char *name) {
    if (values.size() != tokens_) fault(name, values.size(), tokens_);
    place = values.data();
    return *this;
  }
  batch &number(double &place, double value) noexcept {
    place = value;
    return *this;
  }
  void fault(const char *name, std::size_t length, std::size_t expected) {
    const std::string text = std::string(name) + " has " + std::to_string(length) + " values, not " + std::to_string(expected);
    if (!fault_) fault_.emplace(HALO_E_SHAPE, name, text);
    raw_.struct_size = 0;
  }

  halo_batch raw_ = init<halo_batch>();
  std::size_t tokens_ = 0;
  bool sized_ = false;
  std::optional<halo::error> fault_;
};

// Where results go; what is not set is not computed for the host. What each column means says halo_loss_result.
template <class Real = double> class outputs {
public:
  using column = span<Real>;

  outputs &d_logp(column places) { return row(raw_.d_logp, places); }
  outputs &row_loss(column places) { return row(raw_.row_loss, places); }
  outputs &row_reward(column places) { return row(raw_.row_reward, places); }
  outputs &row_zone(span<std::uint8_t> places) { return row(raw_.row_zone, places); }
  outputs &d_token_logp(column places) {
    raw_.d_token_logp = places.data();
    tokens_ = places.size();
    return *this;
  }
  // loss::metric_count() numbers, which add up over batches and ranks.
  outputs &metric_sums(span<double> places) {
    raw_.metric_sums = places.data();
    raw_.metric_count = places.size();
    return *this;
  }

  // Every column has a place for each row or token of the batch.
  result<void> check(const batch<Real> &rows) const {
    if (uneven_ || (rows_ && *rows_ != rows.rows())) {
      return error(HALO_E_SHAPE, "outputs", "a column has not one place for each of " + std::to_string(rows.rows()) + " rows");
    }
    if (tokens_ && *tokens_ != rows.token_count()) {
      return error(HALO_E_SHAPE, "outputs",
                   "d_token_logp has " + std::to_string(*tokens_) + " places for " + std::to_string(rows.token_count()) + " tokens");
    }
    return {};
  }
  // A copy for one call of C, which writes its loss into it.
  halo_loss_result raw() const noexcept { return raw_; }

private:
  template <class Pointer, class T> outputs &row(Pointer &place, span<T> places) {
    uneven_ = uneven_ || (rows_ && *rows_ != places.size());
    rows_ = places.size();
    place = places.data();
    return *this;
  }

  halo_loss_result raw_ = init<halo_loss_result>();
  std::optional<std::size_t> rows_, tokens_;
  bool uneven_ = false;
};

} // namespace halo

#endif // HALO_BATCH_HPP
