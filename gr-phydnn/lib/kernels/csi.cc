/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include <Eigen/Dense>
#include <kernels/csi.h>
#include <kernels/sequences.h>
#include <kernels/vector_math.h>
#include <volk/volk.h>
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr {
namespace phydnn {
namespace kernels {

namespace {
// FᴴF of the delay window. It depends on the difference of two delays only, and is real
// since the used subcarriers lie symmetrically about the carrier.
Eigen::MatrixXd gram(const numerology& n, unsigned taps)
{
    std::vector<double> lags(taps);
    for (unsigned d = 0; d < taps; d++)
        for (unsigned k = 0; k < n.used; k++)
            lags[d] += std::cos(2 * M_PI * double(n.bin(k)) * d / n.fft_size);
    Eigen::MatrixXd g(taps, taps);
    for (unsigned r = 0; r < taps; r++)
        for (unsigned c = 0; c < taps; c++)
            g(r, c) = lags[r >= c ? r - c : c - r];
    return g;
}

// out = the sum of the columns, each times its element of v, which interleaves real and
// imaginary parts: a product with a real matrix in a form that compilers vectorise.
PHYDNN_VECTOR_CLONES
void multiply(const float* columns, const float* v, size_t size, float* out)
{
    std::fill_n(out, 2 * size, 0.0f);
    for (size_t c = 0; c < size; c++) {
        const float re = v[2 * c], im = v[2 * c + 1];
        const float* column = columns + c * 2 * size;
        for (size_t r = 0; r < size; r++) {
            out[2 * r] += column[2 * r] * re;
            out[2 * r + 1] += column[2 * r + 1] * im;
        }
    }
}
} // namespace

smoothing smoothing_from_name(const std::string& name)
{
    if (name == "none")
        return smoothing::none;
    if (name == "window")
        return smoothing::window;
    throw std::invalid_argument("there is no smoothing '" + name +
                                "': choose none or window");
}

delay_window::delay_window(const numerology& dimensions)
    : d_dimensions(dimensions),
      d_margin(std::max(2u, dimensions.cp_length / 5)),
      // A multiple of 8 keeps each column of the weights aligned.
      d_taps((dimensions.cp_length + 2 * d_margin + 7) / 8 * 8),
      d_to_delay(dimensions.fft_size, false),
      d_to_frequency(dimensions.fft_size, true),
      d_weights(2 * size_t(d_taps) * d_taps),
      d_correlation(d_taps)
{
    Eigen::MatrixXd g = gram(dimensions, d_taps);
    // Delays outside the band's resolution are left out rather than amplified.
    g.diagonal().array() += 1e-4 * dimensions.used;
    const Eigen::MatrixXd inverse =
        g.llt().solve(Eigen::MatrixXd::Identity(d_taps, d_taps));
    for (unsigned c = 0; c < d_taps; c++)
        for (unsigned r = 0; r < 2 * d_taps; r++)
            d_weights[size_t(c) * 2 * d_taps + r] = float(inverse(r / 2, c));
}

void delay_window::fit(const gr_complex* ls, gr_complex* taps)
{
    // Fᴴ ls, of which the window keeps the delays −margin … taps − margin.
    const unsigned size = d_dimensions.fft_size, half = d_dimensions.used / 2;
    std::copy_n(ls, half, &d_to_delay.in[size - half]);
    std::copy_n(ls + half, half, &d_to_delay.in[1]);
    d_to_delay.execute();
    std::copy_n(&d_to_delay.out[size - d_margin], d_margin, d_correlation.begin());
    std::copy_n(d_to_delay.out, d_taps - d_margin, d_correlation.begin() + d_margin);
    multiply(d_weights.data(),
             reinterpret_cast<const float*>(d_correlation.data()),
             d_taps,
             reinterpret_cast<float*>(taps));
}

void delay_window::response(const gr_complex* taps, gr_complex* h)
{
    const unsigned size = d_dimensions.fft_size, half = d_dimensions.used / 2;
    std::fill_n(d_to_frequency.in, size, gr_complex());
    std::copy_n(taps, d_margin, &d_to_frequency.in[size - d_margin]);
    std::copy_n(taps + d_margin, d_taps - d_margin, d_to_frequency.in);
    d_to_frequency.execute();
    std::copy_n(&d_to_frequency.out[size - half], half, h);
    std::copy_n(&d_to_frequency.out[1], half, h + half);
}

csi_estimator::csi_estimator(const numerology& dimensions)
    : d_dimensions((dimensions.validate(), dimensions)),
      d_window(dimensions),
      d_pilots(pilots(dimensions))
{
}

channel_estimate
csi_estimator::estimate(const gr_complex* grid, size_t uses, smoothing method)
{
    const unsigned used = d_dimensions.used, taps = d_window.taps();
    const size_t rows = d_dimensions.pilot_symbols(uses);
    channel_estimate e;
    e.ls.resize(rows * used);
    e.refined.resize(rows * used);
    volk::vector<gr_complex> fitted(taps);

    double total = 0, explained = 0;
    for (size_t i = 0; i < rows; i++) {
        gr_complex* ls = &e.ls[i * used];
        gr_complex* refined = &e.refined[i * used];
        volk_32fc_x2_multiply_conjugate_32fc(
            ls, grid + d_dimensions.pilot_row(i, uses) * used, d_pilots.data(), used);
        d_window.fit(ls, fitted.data());
        d_window.response(fitted.data(), refined);
        gr_complex norm, overlap;
        volk_32fc_x2_conjugate_dot_prod_32fc(&norm, ls, ls, used);
        volk_32fc_x2_conjugate_dot_prod_32fc(&overlap, ls, refined, used);
        total += norm.real();
        explained += overlap.real();
    }
    // A silent grid has no noise either: the floor keeps later divisions finite.
    e.n0 = float(std::max((total - explained) / double(rows * (used - taps)), 1e-12));
    const double gain = std::max(total / double(rows * used) - e.n0, 1e-12);
    e.snr_db = float(10 * std::log10(gain / e.n0));

    if (method == smoothing::none)
        e.refined = e.ls;
    return e;
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
