// Twenty steps of KTO on a tiny model of libtorch: the same losses, reference points and weights as TRL's.
//
// testdata/fixtures/libtorch/kto.txt is what TRL came to (testdata/peers/make_libtorch_fixture.py); its path is the argument.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>

#include "halo.hpp"
#include "halo/torch.hpp"
#include "halo/torch_head.hpp"

namespace {

using tensors = std::map<std::string, at::Tensor>;

// One tensor a line: name, rank, sizes, values.
tensors read(const char *path) {
  tensors all;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::size_t rank = 0;
    words >> name >> rank;
    std::vector<std::int64_t> sizes(rank);
    for (auto &size : sizes) words >> size;
    std::vector<double> values;
    for (std::string value; words >> value;) values.push_back(std::stod(value));
    all[name] = at::tensor(values).reshape(sizes);
  }
  return all;
}

struct model {
  at::Tensor embedding, weight, bias;

  static model of(const tensors &all, const std::string &owner) {
    return {all.at(owner + ".embedding").clone(), all.at(owner + ".weight").clone(), all.at(owner + ".bias").clone()};
  }

  // Sums over the completions of ln p(token | the token before): tokens (rows, length) to (rows).
  at::Tensor logp(const at::Tensor &tokens, std::int64_t prompt) const {
    const std::int64_t length = tokens.size(1);
    const at::Tensor before = tokens.slice(1, prompt - 1, length - 1), after = tokens.slice(1, prompt, length);
    const at::Tensor logits = at::matmul(at::embedding(embedding, before), weight.t()) + bias;
    return at::log_softmax(logits, -1).gather(-1, after.unsqueeze(-1)).squeeze(-1).sum(-1);
  }
};

// The gradient that the node gives is the one that finite differences see.
double slope_error(const halo::loss &kto) {
  const at::Tensor ref = at::tensor({-3.0, -4.0, -2.0}), label = at::tensor({1, -1, 1}).to(at::kBool);
  const at::Tensor logp = at::tensor({-2.5, -4.5, -2.0}).requires_grad_(true);
  halo::torch::rows rows;
  rows.label = label;
  rows.ref_logp = ref;
  rows.common_refpoint = 0.1;
  (3.0 * halo::torch::evaluate(kto, logp, rows)).backward();
  double worst = 0.0;
  for (std::int64_t i = 0; i < 3; i++) {
    const at::Tensor step = at::zeros({3}, at::kDouble);
    step[i] = 1e-5;
    const at::Tensor rise = halo::torch::evaluate(kto, logp.detach() + step, rows) -
                            halo::torch::evaluate(kto, logp.detach() - step, rows);
    worst = std::fmax(worst, std::fabs(3.0 * rise.item<double>() / 2e-5 - logp.grad()[i].item<double>()));
  }
  return worst;
}

// DPO of one pair is -ln sigmoid(beta * margin).
double pair_error() {
  const halo::loss dpo("dpo", R"({"beta": 0.5})");
  const at::Tensor chosen = at::tensor({-2.0}), rejected = at::tensor({-3.0}), ref = at::tensor({-2.5});
  const double value = halo::torch::pair_loss(dpo, chosen, rejected, ref, ref).item<double>();
  return std::fabs(value - std::log1p(std::exp(-0.5)));
}

// Log-probabilities and gradients of the head against log_softmax, which keeps what the head does not.
double head_error() {
  const std::int64_t n = 5, h = 4, v = 9;
  const auto numbers = [](std::int64_t count) { return at::sin(at::arange(1, count + 1).to(at::kFloat) * 1.7); };
  const at::Tensor targets = at::tensor({3, 0, 8, 5, 3}).to(at::kLong), seeds = numbers(n);
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<at::Tensor> logps;
  for (const bool ours : {true, false}) {
    const at::Tensor hidden = numbers(n * h).reshape({n, h}).requires_grad_(true);
    const at::Tensor weight = numbers(v * h).reshape({v, h}).requires_grad_(true);
    const at::Tensor bias = numbers(v).requires_grad_(true);
    const at::Tensor logits = at::matmul(hidden, weight.t()) + bias;
    logps.push_back(ours ? halo::torch::head_logp(hidden, weight, targets, bias)
                         : at::log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1));
    (logps.back() * seeds).sum().backward();
    gradients.push_back({hidden.grad(), weight.grad(), bias.grad()});
  }
  double worst = (logps[0] - logps[1]).abs().max().item<double>();
  for (std::size_t i = 0; i < 3; i++) {
    worst = std::fmax(worst, (gradients[0][i] - gradients[1][i]).abs().max().item<double>());
  }
  return worst;
}

} // namespace

int main(int count, char **arguments) try {
  if (count != 2) return 2;
  at::set_num_threads(1);
  const tensors all = read(arguments[1]);
  const at::Tensor settings = all.at("settings"), expected = all.at("steps");
  const auto setting = [&settings](std::int64_t at) { return settings[at].item<double>(); };
  const std::int64_t rows = std::lround(setting(0)), prompt = std::lround(setting(1));
  const at::Tensor tokens = all.at("tokens").to(at::kLong), labels = all.at("labels").to(at::kBool);

  std::ostringstream parameters;
  parameters.precision(17);
  parameters << "{\"beta\": " << setting(2) << ", \"desirable_weight\": " << setting(3)
             << ", \"undesirable_weight\": " << setting(4) << "}";
  const halo::loss kto("kto", parameters.str());
  halo::refpoint point(kto);

  model policy = model::of(all, "policy");
  const model reference = model::of(all, "reference");
  std::vector<at::Tensor> trained = {policy.embedding, policy.weight, policy.bias};
  for (auto &parameter : trained) parameter.requires_grad_(true);
  torch::optim::AdamW optimizer(trained, torch::optim::AdamWOptions(setting(5)).weight_decay(setting(6)));

  double worst = 0.0;
  for (std::int64_t step = 0; step < expected.size(0); step++) {
    const at::Tensor picked = at::remainder(at::arange(step * rows, (step + 1) * rows), tokens.size(0));
    const at::Tensor x = tokens.index_select(0, picked), label = labels.index_select(0, picked);
    // TRL's mismatched completion is the row's before.
    const at::Tensor mismatched =
        at::cat({x.slice(1, 0, prompt), x.roll({1}, {0}).slice(1, prompt, x.size(1))}, 1);
    halo_refpoint_value z0;
    optimizer.zero_grad();
    const at::Tensor loss =
        halo::torch::kto_loss(kto, point, policy.logp(x, prompt), reference.logp(x, prompt), label,
                              policy.logp(mismatched, prompt), reference.logp(mismatched, prompt), {}, &z0);
    loss.backward();
    optimizer.step();
    worst = std::fmax(worst, std::fabs(loss.item<double>() - expected[step][0].item<double>()));
    worst = std::fmax(worst, std::fabs(z0.value - expected[step][1].item<double>()));
  }
  double weights = 0.0, moved = 0.0;
  const model final = model::of(all, "final"), first = model::of(all, "policy");
  for (const auto part : {&model::embedding, &model::weight, &model::bias}) {
    weights = std::fmax(weights, (policy.*part - final.*part).abs().max().item<double>());
    moved = std::fmax(moved, (policy.*part - first.*part).abs().max().item<double>());
  }
  const double slope = slope_error(kto), pair = pair_error(), head = head_error();
  std::printf("libtorch: %d steps of KTO; from TRL's losses and reference points %.1e, weights %.1e (moved %.2f); slope %.1e, "
              "a pair %.1e, the head %.1e\n",
              static_cast<int>(expected.size(0)), worst, weights, moved, slope, pair, head);
  // f64 but the head, which is f32.
  const bool close = worst < 1e-6 && weights < 1e-6 && slope < 1e-8 && pair < 1e-12 && head < 1e-5;
  return close && moved > 0.1 ? 0 : 1;
} catch (const std::exception &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
