/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 */
#include "crew.h"

namespace gr {
namespace phydnn {
namespace kernels {

crew::crew(unsigned threads)
{
    for (unsigned i = 1; i < threads; i++)
        d_helpers.emplace_back([this] { help(); });
}

crew::~crew()
{
    {
        std::lock_guard<std::mutex> lock(d_mutex);
        d_stop = true;
    }
    d_work.notify_all();
    for (std::thread& helper : d_helpers)
        helper.join();
}

void crew::help()
{
    std::unique_lock<std::mutex> lock(d_mutex);
    while (true) {
        d_work.wait(lock, [this] { return d_stop || d_next < d_count; });
        if (d_stop)
            return;
        const std::size_t index = d_next++;
        d_running++;
        lock.unlock();
        (*d_pass)(index);
        lock.lock();
        if (--d_running == 0 && d_next == d_count)
            d_done.notify_one();
    }
}

void crew::run(std::size_t count, const std::function<void(std::size_t)>& pass)
{
    if (d_helpers.empty() || count < 2) {
        for (std::size_t i = 0; i < count; i++)
            pass(i);
        return;
    }
    std::unique_lock<std::mutex> lock(d_mutex);
    d_pass = &pass;
    d_next = 0;
    d_count = count;
    d_work.notify_all();
    while (d_next < d_count) {
        const std::size_t index = d_next++;
        lock.unlock();
        pass(index);
        lock.lock();
    }
    d_done.wait(lock, [this] { return d_running == 0; });
}

} // namespace kernels
} // namespace phydnn
} // namespace gr
