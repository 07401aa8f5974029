// RQ-VAE (Lee et al. 2022; for item codes Rajput et al. 2023): an autoencoder whose latent is quantized level by level.
//
//   RqVae vae = train_rq_vae(vectors, {.codebooks = {256, 256, 256}, .epochs = 100, .seed = 1});
//   vae.codes.codes[level][item]
//
// z = encoder(x); at every level the nearest code q_l of the residual r_l, r_{l+1} = r_l - q_l; x' = decoder(sum q_l)
// with the straight-through gradient to z.
//   loss = mean (x - x')^2 + sum over l of [ mean (sg(r_l) - q_l)^2 + beta mean (r_l - sg(q_l))^2 ],  beta = 0.25
// Codebooks start from k-means of the first latents; codes that nobody uses are set to residuals of crowded ones after
// an epoch until the last fifth of the training, and once at the end. Vectors are centred and scaled to mean variance 1
// first. AdamW. The same seed gives the same bits for the same number of threads. Left out: Sinkhorn inside the loss,
// Gumbel, rotation.
#pragma once

#include <functional>
#include <vector>

#include "caravan/codes/rq_kmeans.h"

namespace caravan::codes {

struct RqVaeProgress {
  int epoch = 0;  // finished ones
  double loss = 0, reconstruction = 0;
  int64_t revived = 0;
};

struct RqVaeOptions {
  std::vector<int64_t> codebooks = {256, 256, 256};
  std::vector<int64_t> hidden = {512, 256, 128};  // of the encoder; the decoder mirrors it
  int64_t latent = 32;
  double commitment = 0.25, lr = 1e-3, weight_decay = 1e-4;
  int epochs = 100;
  int64_t batch = 1024;
  bool revive = true;
  uint64_t seed = 0;
  std::function<void(const RqVaeProgress&)> progress;
  Poll poll = {};  // between the steps too
};

struct RqVae {
  // In the latent space: `projected` are the latents, and encode() takes latents. `network`: encoder.0.weight ...,
  // decoder.0.weight ..., input.mean, input.scale.
  ResidualCodes codes;
  std::vector<double> losses;  // mean of every epoch
  Tensor reconstructed;        // [N, D] decoder(sum of codes), in the scale of the input
};

RqVae train_rq_vae(const Tensor& vectors, const RqVaeOptions& options);

}  // namespace caravan::codes
