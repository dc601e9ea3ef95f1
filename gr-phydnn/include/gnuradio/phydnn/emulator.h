/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_EMULATOR_H
#define INCLUDED_PHYDNN_EMULATOR_H

#include <gnuradio/phydnn/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gr {
namespace phydnn {

/*! \brief A radio that is attached to the emulator. */
struct PHYDNN_API emulator_node {
    std::string name;
    //! Endpoint at which the node answers with the samples it sends; empty: it sends
    //! none.
    std::string transmits;
    //! Endpoint at which the emulator answers the node; empty: it receives nothing.
    std::string receives;
    double cfo_hz = 0;         //!< carrier frequency offset of its receiver
    double sfo_ppm = 0;        //!< sample clock offset of its receiver, -1000 to 1000
    double phase_noise_hz = 0; //!< linewidth of its receiver's oscillator
    double noise = 0;          //!< N0 of its receiver: total variance per complex sample
    double full_scale = 0;     //!< at which its 16-bit converter clips; 0: no converter
};

/*! \brief What is emulated, and how peers are treated. */
struct PHYDNN_API emulator_options {
    double sample_rate = 20e6; //!< Hz
    std::vector<emulator_node> nodes;
    std::vector<double> times;  //!< [T] s, rising; empty: [0]
    std::vector<double> delays; //!< [T][N][N][L] s; transmitter before receiver
    std::vector<std::complex<float>> gains; //!< [T][N][N][L], amplitude; 0: no tap
    std::vector<double> scale;              //!< [N][N] that multiplies gains; empty: 1
    std::vector<double> doppler_hz;         //!< [N][N] of Clarke's fading; empty: 0
    double line = 0; //!< longest delay that may come, s; 0: as needed, 5.12 us at least
    std::uint64_t seed = 0;
    bool mchem = false; //!< hold taps to what Colosseum's MCHEM can do
    //! What happens when a node holds the others up: `stall`, `zero` or `fail`.
    std::string dead_peer = "stall";
    double timeout_s = 5;      //!< of wall time, until it does
    std::size_t block = 32768; //!< samples emulated at a time, at most
    unsigned threads = 0;      //!< 0: one per processor
};

/*! \brief What a node has seen. */
struct PHYDNN_API emulator_node_status {
    std::string name;
    std::string transmits;         //!< endpoint
    std::string receives;          //!< endpoint, its port filled in
    std::string transmitter;       //!< `none`, `absent`, `connected` or `dead`
    std::string receiver;          //!< the same
    std::uint64_t samples_in = 0;  //!< received from it
    std::uint64_t samples_out = 0; //!< sent to it
    std::uint64_t zero_filled = 0; //!< samples put in its place while it was dead
    std::uint64_t lost = 0;        //!< samples made for it and dropped while it was dead
    std::uint64_t stalls = 0;      //!< times it held the others up for timeout_s
    std::uint64_t reconnects = 0;  //!< of both ends
    std::uint64_t refused = 0;     //!< messages that were not of the protocol
    std::uint64_t clipped = 0;     //!< real or imaginary parts that its converter held
    std::uint64_t not_finite = 0;  //!< of its samples, taken as 0
    std::size_t queued_in = 0;     //!< of its samples, not emulated yet
    std::size_t queued_out = 0;    //!< samples made, that it has not asked for
};

/*! \brief A change of a link while the emulation ran: with these it can be run again. */
struct PHYDNN_API emulator_change {
    std::uint64_t at; //!< sample count from which it holds
    std::size_t transmitter;
    std::size_t receiver;
    bool taps;      //!< whether taps were set, else the gain
    double gain_db; //!< of set_gain()
    std::vector<double> delays;
    std::vector<std::complex<float>> gains;
};

/*! \brief Where the emulation stands. */
struct PHYDNN_API emulator_status {
    std::string state; //!< `idle`, `waiting`, `running`, `stalled`, `stopped` or `failed`
    std::string error; //!< why it failed
    double sample_rate = 0;
    std::uint64_t samples = 0; //!< sample count of the emulation
    double wall_s = 0;         //!< since all nodes had come
    std::vector<emulator_node_status> nodes;
    std::uint64_t changes_made = 0;
    std::vector<emulator_change> changes; //!< the last 4096
};

/*!
 * \brief Channel emulator: N x N links between processes that exchange samples.
 * \ingroup phydnn
 *
 * Links, impairments and what is deterministic: see kernels::emulator.
 *
 * **Sockets.** Samples cross ZeroMQ sockets in srsRAN's protocol: who sends binds REP, a
 * request is one byte, the reply headerless complex float samples of any length. The
 * emulator asks every node that transmits, and answers every node that receives. GNU
 * Radio's zeromq REQ and REP blocks and this module's zmq_sink and zmq_source attach
 * alike. Messages are bounded: requests to 256 bytes, replies to 2 Mi samples.
 *
 * **Lock-step.** Sample count is the only clock. Nothing is emulated before each node has
 * come once; then the emulation goes on as far as every transmitter has sent and every
 * receiver has taken, a few blocks apart at most, and as fast as they do.
 *
 * **Dead peers.** When a node has held the others up for `timeout_s`: with `stall`, that
 * is counted, and they go on waiting; with `zero`, it sends zeros and what was for it is
 * dropped, both counted, until it is back (those that have disconnected first; while one
 * is filled in, others are not called dead for waiting on it); with `fail`, the
 * emulation ends.
 *
 * All methods may be called from any thread.
 */
class PHYDNN_API emulator
{
public:
    /*! \throws std::invalid_argument for an option out of range; names it. */
    explicit emulator(const emulator_options& options);
    ~emulator();
    emulator(const emulator&) = delete;
    emulator& operator=(const emulator&) = delete;

    /*!
     * \brief Opens the sockets and starts to emulate.
     * \throws std::invalid_argument for an endpoint that cannot be understood
     * \throws std::runtime_error for one that cannot be bound, or where it has run
     * already
     */
    void start();

    /*! \brief Ends the emulation and closes the sockets. */
    void stop();

    /*!
     * \brief Waits until the emulation ends, at most \p timeout_s.
     * \return Whether it has ended.
     * \throws std::runtime_error where it failed; says why
     */
    bool wait(double timeout_s);

    /*! \brief Where the emulation stands. */
    emulator_status status() const;

    /*!
     * \brief The same emulation without sockets: goes on as far as the shortest stream.
     *
     * What is left of the others is used first in the next call.
     * \param samples What each node sends; null: it is silent, in all calls.
     * \param lengths Of samples.
     * \return What each node receives, as far as that is settled.
     * \throws std::runtime_error where sockets are open, or another node was silent
     * before
     */
    std::vector<std::vector<std::complex<float>>>
    run(const std::vector<const std::complex<float>*>& samples,
        const std::vector<std::size_t>& lengths);

    //! \name Changes of a link, from sample \p at on (negative: the next).
    //! \return The sample count from which it holds.
    //! \throws std::invalid_argument for a value out of range, or a sample that is past
    //! \{
    /*! \brief Further gain of all the link's taps, in place of what was set before. */
    std::uint64_t set_gain(std::size_t transmitter,
                           std::size_t receiver,
                           double db,
                           std::int64_t at = -1);
    /*! \brief The link's taps: delays in seconds, gains before `scale`. */
    std::uint64_t set_taps(std::size_t transmitter,
                           std::size_t receiver,
                           const std::vector<double>& delays,
                           const std::vector<std::complex<float>>& gains,
                           std::int64_t at = -1);
    //! \}

private:
    struct implementation;
    std::unique_ptr<implementation> d_self;
};

} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_EMULATOR_H */
