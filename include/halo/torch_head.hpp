// halo/torch_head.hpp: log-probabilities of tokens without a tokens x vocabulary buffer, as a node of libtorch's graph.
//
//   at::Tensor token_logps = halo::torch::head_logp(hidden, weight, targets);   // (n, h), (v, h), (n) to (n)
//
// Tensors are lent to the library where they lie, so that nothing is copied that is contiguous. f32, bf16 and f16; gradients have
// the type of their tensor. What device it runs on is the library's matter: a build without "cuda" takes tensors of the CPU.
#ifndef HALO_TORCH_HEAD_HPP
#define HALO_TORCH_HEAD_HPP

#include <cstdint>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

#include "core.hpp"

namespace halo::torch {

namespace detail {

// A tensor as DLPack describes it, borrowed; an undefined one is NULL.
class view {
public:
  explicit view(const at::Tensor &tensor) {
    if (!tensor.defined()) return;
    shape_ = tensor.sizes().vec();
    tensor_.data = const_cast<void *>(tensor.const_data_ptr());
    tensor_.device = {tensor.is_cuda() ? kDLCUDA : kDLCPU, tensor.is_cuda() ? static_cast<std::int32_t>(tensor.get_device()) : 0};
    tensor_.ndim = static_cast<std::int32_t>(shape_.size());
    tensor_.dtype = {code(tensor.scalar_type()), static_cast<std::uint8_t>(8 * tensor.element_size()), 1};
    tensor_.shape = shape_.data();
    there_ = true;
  }
  view(const view &) = delete;
  view &operator=(const view &) = delete;

  DLTensor *get() noexcept { return there_ ? &tensor_ : nullptr; }

private:
  // What is none of these the library refuses by name.
  static std::uint8_t code(at::ScalarType type) {
    if (type == at::kBFloat16) return kDLBfloat;
    if (at::isFloatingType(type)) return kDLFloat;
    return at::isIntegralType(type, false) ? kDLInt : kDLOpaqueHandle;
  }

  std::vector<std::int64_t> shape_;
  DLTensor tensor_ = {};
  bool there_ = false;
};

// The inputs of a head with their descriptions.
struct head {
  view hidden, weight, bias, targets;
  double temperature, softcap;

  halo_head raw() {
    halo_head raw = init<halo_head>();
    raw.hidden = hidden.get();
    raw.weight = weight.get();
    raw.bias = bias.get();
    raw.targets = targets.get();
    raw.temperature = temperature;
    raw.softcap = softcap;
    return raw;
  }
};

struct head_node : ::torch::autograd::Function<head_node> {
  using context = ::torch::autograd::AutogradContext;

  static at::Tensor forward(context *context, const at::Tensor &hidden, const at::Tensor &weight, const at::Tensor &bias,
                            const at::Tensor &targets, double temperature, double softcap) {
    const at::Tensor logp = at::empty({targets.numel()}, hidden.options().dtype(at::kFloat)), lse = at::empty_like(logp);
    head inputs{view(hidden), view(weight), view(bias), view(targets), temperature, softcap};
    view logp_view(logp), lse_view(lse);
    const halo_head raw = inputs.raw();
    halo_head_stats stats = init<halo_head_stats>();
    stats.logp = logp_view.get();
    stats.lse = lse_view.get();
    call(halo_head_forward, &raw, &stats, nullptr);
    context->save_for_backward({hidden, weight, bias, targets, lse});
    context->saved_data["temperature"] = temperature;
    context->saved_data["softcap"] = softcap;
    return logp;
  }

  static ::torch::autograd::tensor_list backward(context *context, const ::torch::autograd::tensor_list &seeds) {
    const auto saved = context->get_saved_variables();
    const at::Tensor d_logp = seeds[0].contiguous();
    at::Tensor d_hidden, d_weight, d_bias;
    if (context->needs_input_grad(0)) d_hidden = at::empty_like(saved[0]);
    if (context->needs_input_grad(1)) d_weight = at::empty_like(saved[1]);
    if (saved[2].defined() && context->needs_input_grad(2)) d_bias = at::empty_like(saved[2]);

    head inputs{view(saved[0]), view(saved[1]), view(saved[2]), view(saved[3]), context->saved_data["temperature"].toDouble(),
                context->saved_data["softcap"].toDouble()};
    view lse(saved[4]), seed(d_logp), to_hidden(d_hidden), to_weight(d_weight), to_bias(d_bias);
    const halo_head raw = inputs.raw();
    halo_head_stats stats = init<halo_head_stats>();
    stats.lse = lse.get();
    halo_head_grads grads = init<halo_head_grads>();
    grads.d_logp = seed.get();
    grads.d_hidden = to_hidden.get();
    grads.d_weight = to_weight.get();
    grads.d_bias = to_bias.get();
    call(halo_head_backward, &raw, &stats, &grads, nullptr);
    return {d_hidden, d_weight, d_bias, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

} // namespace detail

// ln p(target) in nats, f32: hidden (n, h), weight (v, h), targets (n), bias (v) or undefined, to (n). A negative target skips its
// row, which gets 0. temperature and softcap as in halo_head; 0 = none.
inline at::Tensor head_logp(const at::Tensor &hidden, const at::Tensor &weight, const at::Tensor &targets,
                            const at::Tensor &bias = {}, double temperature = 0.0, double softcap = 0.0) {
  return detail::head_node::apply(hidden.contiguous(), weight.contiguous(), bias.defined() ? bias.contiguous() : bias,
                                  targets.contiguous(), temperature, softcap);
}

} // namespace halo::torch

#endif // HALO_TORCH_HEAD_HPP
