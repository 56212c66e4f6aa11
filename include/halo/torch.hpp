// halo/torch.hpp: halo's losses as nodes of libtorch's graph. C++20, as PyTorch asks for.
//
//   at::Tensor loss = halo::torch::kto_loss(kto, z0, logps, ref_logps, label, mismatched_logps, mismatched_ref_logps);
//   loss.backward();                                    // d loss / d logps, and from there into the model
//
// Value and gradient come from one call in forward, in f64 on the host: the few numbers of a batch are copied there, which for a
// GPU's tensor is the one synchronisation. What is no input of the graph (reference, labels, weights) gets no gradient.
#ifndef HALO_TORCH_HPP
#define HALO_TORCH_HPP

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

#include "loss.hpp"

namespace halo::torch {

// The columns of a halo_batch that are no input of the graph, on any device and of any floating-point type; an undefined tensor
// is an absent column.
struct rows {
  at::Tensor label; // bool, true = desirable or chosen; or +1 and -1
  at::Tensor group; // integers; equal = belong together
  at::Tensor role;  // HALO_ROLE_*
  at::Tensor tokens;
  at::Tensor ref_logp, old_logp, reward, advantage, weight, beta_scale;
  // With these, logp is of tokens: row i's are offsets[i] to offsets[i + 1].
  at::Tensor offsets, token_mask, token_ref_logp, token_old_logp, token_log_collision;
  double common_refpoint = 0.0;
  // Of all micro-batches and ranks, by loss::count and a sum over them; zeros = this batch is all.
  std::array<double, 3> global = {0.0, 0.0, 0.0};
};

namespace detail {

// Columns in host memory, for as long as this lives.
class columns {
public:
  template <class T> span<const T> column(const at::Tensor &tensor) {
    kept_.push_back(tensor.detach().to(at::kCPU, c10::CppTypeToScalarType<T>::value).contiguous());
    return {kept_.back().template const_data_ptr<T>(), static_cast<std::size_t>(kept_.back().numel())};
  }

  batch<double> read(const rows &from) {
    batch<double> to;
    if (from.offsets.defined()) to.offsets(column<std::int64_t>(from.offsets));
    if (from.label.defined()) {
      const bool truth = from.label.scalar_type() == at::kBool;
      to.label(column<std::int8_t>(truth ? from.label.to(at::kChar) * 2 - 1 : from.label));
    }
    // A group's number has 64 bits, whatever their sign.
    if (from.group.defined()) {
      const auto group = column<std::int64_t>(from.group);
      to.group({reinterpret_cast<const std::uint64_t *>(group.data()), group.size()});
    }
    if (from.role.defined()) to.role(column<std::uint8_t>(from.role));
    if (from.tokens.defined()) to.tokens(column<std::int32_t>(from.tokens));
    if (from.ref_logp.defined()) to.ref_logp(column<double>(from.ref_logp));
    if (from.old_logp.defined()) to.old_logp(column<double>(from.old_logp));
    if (from.reward.defined()) to.reward(column<double>(from.reward));
    if (from.advantage.defined()) to.advantage(column<double>(from.advantage));
    if (from.weight.defined()) to.weight(column<double>(from.weight));
    if (from.beta_scale.defined()) to.beta_scale(column<double>(from.beta_scale));
    if (from.token_mask.defined()) to.token_mask(column<std::uint8_t>(from.token_mask));
    if (from.token_ref_logp.defined()) to.token_ref_logp(column<double>(from.token_ref_logp));
    if (from.token_old_logp.defined()) to.token_old_logp(column<double>(from.token_old_logp));
    if (from.token_log_collision.defined()) to.token_log_collision(column<double>(from.token_log_collision));
    return to.common_refpoint(from.common_refpoint).global(from.global);
  }

private:
  std::vector<at::Tensor> kept_;
};

// Log-probabilities in, the loss out, and its gradient into the second span.
using evaluation = std::function<double(span<const double>, span<double>)>;

struct node : ::torch::autograd::Function<node> {
  static at::Tensor forward(::torch::autograd::AutogradContext *context, const at::Tensor &logp, const evaluation &evaluate) {
    columns memory;
    const auto values = memory.column<double>(logp);
    at::Tensor gradient = at::zeros(logp.sizes(), at::kDouble);
    const double value = evaluate(values, {gradient.mutable_data_ptr<double>(), values.size()});
    context->save_for_backward({gradient.to(logp.options())});
    return at::scalar_tensor(value, logp.options());
  }

  static ::torch::autograd::tensor_list backward(::torch::autograd::AutogradContext *context,
                                                 ::torch::autograd::tensor_list seeds) {
    return {seeds[0] * context->get_saved_variables()[0], at::Tensor()};
  }
};

} // namespace detail

// Any loss: logp (rows), or (tokens) where the rows have offsets, to a scalar.
inline at::Tensor evaluate(const loss &of, const at::Tensor &logp, const rows &rest) {
  const detail::evaluation evaluate = [&](span<const double> values, span<double> gradient) {
    detail::columns memory;
    batch<double> batch = memory.read(rest);
    if (rest.offsets.defined()) return of.evaluate(batch.token_logp(values), outputs<double>().d_token_logp(gradient));
    return of.evaluate(batch.logp(values), gradient);
  };
  return detail::node::apply(logp, evaluate);
}

// Pairs, for DPO and its kin: four tensors of (pairs); the references undefined for a loss without them.
inline at::Tensor pair_loss(const loss &of, const at::Tensor &chosen_logp, const at::Tensor &rejected_logp,
                            const at::Tensor &ref_chosen_logp = {}, const at::Tensor &ref_rejected_logp = {}) {
  const at::Tensor pairs = at::arange(chosen_logp.numel(), at::kLong);
  const at::Tensor ones = at::ones_like(pairs, at::kChar);
  rows rest;
  rest.label = at::cat({ones, -ones});
  rest.group = at::cat({pairs, pairs});
  if (ref_chosen_logp.defined()) rest.ref_logp = at::cat({ref_chosen_logp, ref_rejected_logp});
  return evaluate(of, at::cat({chosen_logp, rejected_logp}), rest);
}

// Adds a few doubles over the ranks, in place.
using reduction = std::function<void(span<double>)>;

// KTO and its kin, reference point and all: logp, ref_logp and label of (rows), and of the same prompts with other prompts'
// completions, which say how far the policy has moved. One call an optimizer step, since moving averages move. With several
// ranks, `reduce` sums over them; gradients are then to be summed over the ranks, not averaged.
inline at::Tensor kto_loss(const loss &of, refpoint &point, const at::Tensor &logp, const at::Tensor &ref_logp,
                           const at::Tensor &label, const at::Tensor &mismatched_logp,
                           const at::Tensor &mismatched_ref_logp, const reduction &reduce = {},
                           halo_refpoint_value *z0 = nullptr) {
  rows rest;
  rest.label = at::cat({label, label});
  rest.role = at::cat({at::full_like(label, HALO_ROLE_SCORED, at::kByte), at::full_like(label, HALO_ROLE_MISMATCH, at::kByte)});
  rest.ref_logp = at::cat({ref_logp, mismatched_ref_logp});
  const at::Tensor both = at::cat({logp, mismatched_logp.detach()});

  detail::columns memory;
  const batch<double> batch = memory.read(rest).logp(memory.column<double>(both));
  std::vector<double> sums(point.width());
  point.accumulate(batch, sums);
  of.count(batch, rest.global);
  if (reduce) {
    reduce(sums);
    reduce(rest.global);
  }
  const halo_refpoint_value value = point.finish(sums);
  if (z0 != nullptr) *z0 = value;
  rest.common_refpoint = value.value;
  return evaluate(of, both, rest);
}

} // namespace halo::torch

#endif // HALO_TORCH_HPP
