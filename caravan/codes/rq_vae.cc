#include "caravan/codes/rq_vae.h"

#include <torch/optim.h>
#include <torch/torch.h>

#include <cmath>

#include "caravan/base/error.h"
#include "caravan/codes/linear_algebra.h"

namespace caravan::codes {
namespace {

Tensor rows_of(const Tensor& codebook, const std::vector<int32_t>& codes) {
  return codebook.index_select(0, at::tensor(codes, at::kInt).to(at::kLong));
}

// Linear layers with ReLU between them.
class Perceptron {
 public:
  Perceptron(const std::vector<int64_t>& widths, at::Generator& generator) {
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
      const double bound = std::sqrt(6.0 / static_cast<double>(widths[i] + widths[i + 1]));  // Glorot & Bengio 2010
      const Tensor uniform = at::rand({widths[i + 1], widths[i]}, generator, at::kFloat);
      weights_.push_back(((uniform * 2 - 1) * bound).requires_grad_());
      biases_.push_back(at::zeros({widths[i + 1]}).requires_grad_());
    }
  }
  Tensor operator()(Tensor x) const {
    for (size_t i = 0; i < weights_.size(); ++i) {
      x = at::linear(x, weights_[i], biases_[i]);
      if (i + 1 < weights_.size()) x = at::relu(x);
    }
    return x;
  }
  void collect(const std::string& name, std::vector<std::pair<std::string, Tensor>>& out) const {
    for (size_t i = 0; i < weights_.size(); ++i) {
      out.emplace_back(fmt::format("{}.{}.weight", name, i), weights_[i]);
      out.emplace_back(fmt::format("{}.{}.bias", name, i), biases_[i]);
    }
  }

 private:
  std::vector<Tensor> weights_, biases_;
};

std::vector<int64_t> widths_of(int64_t input, const RqVaeOptions& options) {
  std::vector<int64_t> widths = {input};
  widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
  widths.push_back(options.latent);
  return widths;
}

std::vector<int64_t> reversed(std::vector<int64_t> widths) { return {widths.rbegin(), widths.rend()}; }

class Training {
 public:
  Training(const Tensor& vectors, const RqVaeOptions& options)
      : options_(options),
        generator_(at::detail::createCPUGenerator(options.seed)),
        random_(options.seed),
        encoder_(widths_of(vectors.size(1), options), generator_),
        decoder_(reversed(widths_of(vectors.size(1), options)), generator_) {
    mean_ = vectors.mean(0);
    scale_ = (vectors - mean_).square().mean().sqrt().clamp_min(1e-12);
    x_ = ((vectors - mean_) / scale_).contiguous();
    start_codebooks();
  }

  RqVae run() {
    RqVae result;
    encoder_.collect("encoder", result.codes.network);
    decoder_.collect("decoder", result.codes.network);
    std::vector<Tensor> parameters;
    for (const auto& [name, tensor] : result.codes.network) parameters.push_back(tensor);
    parameters.insert(parameters.end(), codebooks_.begin(), codebooks_.end());
    torch::optim::AdamW optimizer(parameters,
                                  torch::optim::AdamWOptions(options_.lr).weight_decay(options_.weight_decay));
    for (int epoch = 1; epoch <= options_.epochs; ++epoch) {
      RqVaeProgress at{.epoch = epoch};
      run_epoch(optimizer, at);
      check(std::isfinite(at.loss), ErrorCode::invalid_argument,
            "RQ-VAE: the loss of epoch {} is not finite; lower the learning rate ({})", epoch, options_.lr);
      if (options_.revive && epoch < options_.epochs - options_.epochs / 5) at.revived = revive();
      result.losses.push_back(at.loss);
      if (options_.progress) options_.progress(at);
    }
    finish(result);
    return result;
  }

 private:
  void poll() const {
    if (options_.poll) options_.poll();
  }

  // k-means of the residuals of the first latents, level by level.
  void start_codebooks() {
    const torch::NoGradGuard no_grad;
    RqOptions rq{.codebooks = options_.codebooks, .seed = options_.seed};
    rq.kmeans.max_iterations = 10;
    rq.kmeans.poll = [this] { poll(); };
    const Tensor latents = encoder_(x_);
    const ResidualCodes start = rq_kmeans(latents, rq);
    for (size_t l = 0; l < start.quantizer.codebooks.size(); ++l) {
      Tensor codebook = start.quantizer.codebooks[l].clone();
      if (l == 0) codebook = codebook + start.quantizer.projection.mean;  // k-means saw centred latents
      codebooks_.push_back(codebook.requires_grad_());
    }
  }

  void run_epoch(torch::optim::Optimizer& optimizer, RqVaeProgress& at) {
    const int64_t n = x_.size(0);
    const Tensor order = at::randperm(n, generator_, at::kLong);
    for (int64_t first = 0; first < n; first += options_.batch) {
      const int64_t last = std::min(first + options_.batch, n);
      const Tensor batch = x_.index_select(0, order.slice(0, first, last));
      const auto [loss, reconstruction] = losses(batch);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      poll();
      const double share = static_cast<double>(last - first) / static_cast<double>(n);
      at.loss += share * loss.item<double>();
      at.reconstruction += share * reconstruction.item<double>();
    }
  }

  std::pair<Tensor, Tensor> losses(const Tensor& x) {
    const Tensor z = encoder_(x);
    Tensor rest = z, sum = at::zeros_like(z.detach()), quantization = at::zeros({});
    for (const Tensor& codebook : codebooks_) {
      const Tensor q = rows_of(codebook, nearest(rest.detach(), codebook.detach()).index);
      quantization =
          quantization + at::mse_loss(q, rest.detach()) + options_.commitment * at::mse_loss(rest, q.detach());
      rest = rest - q.detach();
      sum = sum + q.detach();
    }
    const Tensor reconstruction = at::mse_loss(decoder_(z + (sum - z).detach()), x);
    return {reconstruction + quantization, reconstruction};
  }

  // Codes that no item uses move onto items of codes that many use.
  int64_t revive() {
    const torch::NoGradGuard no_grad;
    int64_t revived = 0;
    Tensor rest = encoder_(x_);
    for (Tensor& codebook : codebooks_) {
      poll();
      std::vector<int32_t> codes = nearest(rest, codebook).index;
      std::vector<int64_t> sizes(codebook.size(0), 0);
      for (int32_t code : codes) ++sizes[code];
      for (int64_t k = 0; k < codebook.size(0); ++k) {
        if (sizes[k] > 0) continue;
        // The most crowded of a few random items' codes shares its place.
        int64_t chosen = 0, crowd = -1;
        for (int trial = 0; trial < 8; ++trial) {
          const auto item = static_cast<int64_t>(random_.below(codes.size()));
          if (sizes[codes[item]] > crowd) crowd = sizes[codes[item]], chosen = item;
        }
        codebook[k].copy_(rest[chosen]);
        sizes[k] = 1;
        ++revived;
      }
      rest = rest - rows_of(codebook, nearest(rest, codebook).index);
    }
    return revived;
  }

  void finish(RqVae& result) {
    const torch::NoGradGuard no_grad;
    ResidualCodes& codes = result.codes;
    if (options_.revive) revive();
    codes.quantizer.projection.mean = at::zeros({options_.latent});
    for (const Tensor& codebook : codebooks_) codes.quantizer.codebooks.push_back(codebook.detach().clone());
    codes.projected = encoder_(x_);
    codes.codes = codes.quantizer.encode(codes.projected);
    const Tensor sum = codes.quantizer.decode(codes.projected, codes.codes, std::ssize(codebooks_));
    result.reconstructed = decoder_(sum) * scale_ + mean_;
    for (auto& [name, tensor] : result.codes.network) tensor = tensor.detach();
    result.codes.network.emplace_back("input.mean", mean_);
    result.codes.network.emplace_back("input.scale", scale_.reshape({1}));
  }

  const RqVaeOptions& options_;
  at::Generator generator_;
  Random random_;
  Perceptron encoder_, decoder_;
  Tensor mean_, scale_, x_;
  std::vector<Tensor> codebooks_;
};

}  // namespace

RqVae train_rq_vae(const Tensor& vectors, const RqVaeOptions& options) {
  check(vectors.dim() == 2 && vectors.size(0) > 0 && !options.codebooks.empty(), ErrorCode::invalid_argument,
        "RQ-VAE: vectors [items, width] and at least one codebook are expected");
  check(options.epochs > 0 && options.batch > 0 && options.latent > 0 && options.lr > 0, ErrorCode::invalid_argument,
        "RQ-VAE: epochs, batch size, latent width and learning rate must be positive");
  const torch::AutoGradMode with_gradients(true);
  return Training(vectors.detach().to(at::kFloat), options).run();
}

}  // namespace caravan::codes
