/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_EMULATOR_H
#define INCLUDED_PHYDNN_KERNELS_EMULATOR_H

#include "crew.h"
#include "fading.h"
#include "impairments.h"
#include "noise.h"
#include "resampler.h"
#include "window.h"
#include <gnuradio/phydnn/api.h>
#include <unordered_map>
#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief A node's receiver, and its part in the emulation. */
struct PHYDNN_API emulated_node {
    std::string name;
    double cfo_hz = 0;         //!< carrier frequency offset of its receiver
    double sfo_ppm = 0;        //!< see sample_clock
    double phase_noise_hz = 0; //!< linewidth, full width at half maximum
    double noise = 0;          //!< N0: total variance per complex sample
    double full_scale = 0;     //!< of the sc16 converter; 0: none
    bool transmits = true;     //!< its samples are waited for
    bool receives = true;      //!< samples are made for it
};

/*! \brief What is emulated. Arrays are in C order; a link's transmitter comes first. */
struct PHYDNN_API emulator_settings {
    double sample_rate = 20e6; //!< Hz
    std::vector<emulated_node> nodes;
    std::vector<double> times;              //!< [T] s, rising
    std::vector<double> delays;             //!< [T][N][N][L] s
    std::vector<std::complex<float>> gains; //!< [T][N][N][L], amplitude; 0: no tap
    std::vector<double> scale;              //!< [N][N] that multiplies gains; none: 1
    std::vector<double> doppler_hz;         //!< [N][N] of Clarke's fading; none: 0
    double line = 0;                        //!< longest delay, s; 0: as long as needed
    std::uint64_t seed = 0;
    bool mchem = false; //!< hold taps to what MCHEM can do
    unsigned threads = 1;
};

/*!
 * \brief The links between N nodes, at complex baseband, and the nodes' receivers.
 *
 * What node j receives is the sum over all nodes i of what i sends through the taps of
 * the link i → j; then its receiver's sample clock offset, carrier frequency offset and
 * phase noise, noise, and a 16-bit converter. Sample count is the only clock: all nodes'
 * streams start at sample 0, where what came before is 0.
 *
 * **Taps.** A tap has a delay of any real number of samples, and a complex gain. Those
 * given for several times are interpolated linearly against the sample count, delay and
 * gain; those of the first time hold before it, those of the last after it. A tap that is
 * 0 at one end of an interval keeps the delay of the other, and fades in or out there.
 * With Doppler, each tap's gain is multiplied by a process of mean power 1 of its own
 * (see kernels::fading).
 *
 * Whole delays are exact. Fractional ones are interpolated over 40 samples (-57 dB worst
 * error over the middle 90% of the band); while a delay moves, it is taken to the nearest
 * 1/2048 of a sample. What an interpolator has to see of the future holds output back, by
 * 21 samples at most, and by as many for a sample clock offset.
 *
 * **MCHEM.** With `mchem`, links do what Colosseum's can: each millisecond, taps are
 * moved to a grid of 10 ns, those that meet are added, those beyond 5.12 us and those
 * below -43 dB are left out, magnitudes above 0 dB are held there, the 4 strongest are
 * kept and rounded to 16 bits per part, and they stay for the millisecond. (The rounding
 * is this emulator's reading: the width of MCHEM's coefficients is not published.) This
 * concerns gains with their Doppler, before `scale`.
 *
 * **Determinism.** The samples made depend on the samples put, the settings and the
 * changes with their sample counts, and on nothing else: not on how streams are cut, nor
 * on the number of threads. Random numbers of the link i → j are those of link i N + j of
 * the seed; of the receiver j, of link j N + j.
 *
 * Not for several threads at once, but those it has itself.
 */
class PHYDNN_API emulator
{
public:
    /*! \throws std::invalid_argument for a setting out of range; names it. */
    explicit emulator(const emulator_settings& settings);
    ~emulator();

    /*!
     * \brief Whether samples of node \p i are waited for, and made for it.
     * \throws std::logic_error once the emulation has begun
     */
    void set_role(std::size_t i, bool transmits, bool receives);

    /*! \brief Samples that node \p i sends next. Those that are not finite become 0. */
    void put(std::size_t i, const std::complex<float>* samples, std::size_t n);
    /*! \brief As put(), all 0. */
    void put_zeros(std::size_t i, std::size_t n);
    /*! \brief Samples of node \p i that wait to be emulated. */
    std::size_t waiting(std::size_t i) const;

    /*!
     * \brief Emulates as many samples as all transmitting nodes have sent, \p most at
     * most, and none beyond the next change.
     * \return The number of samples.
     */
    std::size_t step(std::size_t most);

    /*! \brief Samples made for node \p j that wait to be taken. */
    std::size_t ready(std::size_t j) const;
    /*! \brief The first of them; valid until the next step(). */
    const std::complex<float>* made(std::size_t j) const;
    /*! \brief The first \p n of them have been taken. */
    void take(std::size_t j, std::size_t n);

    /*! \brief Sample count at which the next step() starts. */
    std::uint64_t count() const { return d_count; }
    /*! \brief Samples beyond the next one that step() has to have at present. */
    std::size_t ahead() const { return d_ahead; }

    //! \name Changes, from sample \p at on, which has not been emulated yet.
    //! \throws std::invalid_argument for a value out of range
    //! \{
    /*! \brief Multiplies the link's gains by \p gain from there on, in place of earlier
     * ones. */
    void set_gain(std::size_t transmitter,
                  std::size_t receiver,
                  double gain,
                  std::uint64_t at);
    /*! \brief Replaces the link's taps; they do not move any more. */
    void set_taps(std::size_t transmitter,
                  std::size_t receiver,
                  const std::vector<double>& delays,
                  const std::vector<std::complex<float>>& gains,
                  std::uint64_t at);
    //! \}

    /*! \brief Real or imaginary parts that the converter of node \p j clipped. */
    std::uint64_t clipped(std::size_t j) const;
    /*! \brief Samples put by node \p i that were not finite numbers. */
    std::uint64_t not_finite(std::size_t i) const;

    /*! \brief Largest delay, in samples. */
    static constexpr double limit_delay = 1e6;

private:
    class weights_memory;
    class link;
    struct receiver;
    struct change {
        std::uint64_t at;
        std::size_t transmitter;
        std::size_t receiver;
        bool taps; // else the gain
        double gain;
        std::vector<double> delays;
        std::vector<std::complex<float>> gains;
    };
    void receive(receiver& r, std::size_t n);
    void apply(const change& c);
    void schedule(change&& c);
    link& link_of(std::size_t transmitter, std::size_t receiver);
    void find_ahead();

    emulator_settings d_settings;
    std::size_t d_line; // samples
    std::vector<window> d_sent;
    std::vector<std::uint64_t> d_not_finite;
    std::vector<std::unique_ptr<receiver>> d_receivers;
    std::vector<change> d_changes; // ahead, in their order
    std::uint64_t d_count = 0;
    std::size_t d_ahead = 0;
    crew d_crew;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_EMULATOR_H */
