/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#ifndef INCLUDED_PHYDNN_KERNELS_CREW_H
#define INCLUDED_PHYDNN_KERNELS_CREW_H

#include <gnuradio/phydnn/api.h>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gr {
namespace phydnn {
namespace kernels {

/*! \brief Threads that share a loop whose passes are independent of each other. */
class PHYDNN_API crew
{
public:
    /*! \param threads That work, the caller's included; 1 or more. */
    explicit crew(unsigned threads);
    ~crew();
    crew(const crew&) = delete;
    crew& operator=(const crew&) = delete;

    /*! \brief Calls pass(0) … pass(count - 1), each once, and returns when all are done.
     */
    void run(std::size_t count, const std::function<void(std::size_t)>& pass);

private:
    void help();

    std::mutex d_mutex;
    std::condition_variable d_work;
    std::condition_variable d_done;
    const std::function<void(std::size_t)>* d_pass = nullptr;
    std::size_t d_next = 0;
    std::size_t d_count = 0;
    std::size_t d_running = 0;
    bool d_stop = false;
    std::vector<std::thread> d_helpers;
};

} // namespace kernels
} // namespace phydnn
} // namespace gr

#endif /* INCLUDED_PHYDNN_KERNELS_CREW_H */
