// SPDX-License-Identifier: MIT
// Work divided among threads.
#pragma once

#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

// In a forked process the threads of OpenMP are missing, which it does not notice.
inline std::atomic<bool> is_fork{false};
inline const int watched = pthread_atfork(nullptr, nullptr, [] { is_fork = true; });

// Calls work() in several threads at once, this one among them. They are those of torch's OpenMP,
// which waits busily for a while after each of its own calls: other threads would find the
// processors taken.
template <class Work>
void in_threads(int threads, const Work& work) {
    using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
    static const auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    if (threads > 1 && parallel != nullptr && !is_fork) {
        const auto call = [](void* p) { (*static_cast<const Work*>(p))(); };
        parallel(call, const_cast<Work*>(&work), threads, 0);
        return;
    }
    std::vector<std::thread> others;
    for (int k = 1; k < threads; ++k) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
}

// Calls task(index) for every index below `count`, in several threads.
template <class Task>
void parallel(int threads, int count, Task task) {
    std::atomic<int> next{0};
    std::atomic<bool> failed{false};
    in_threads(std::min(threads, count), [&] {
        try {
            for (int index = next++; index < count; index = next++) task(index);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    });
    if (failed) throw std::bad_alloc();
}

// Objects that are expensive to make, for one thread at a time.
template <class T>
class Pool {
public:
    class Loan {
    public:
        explicit Loan(Pool& pool) : pool_(pool) {
            const std::lock_guard<std::mutex> lock(pool_.mutex_);
            if (pool_.free_.empty()) pool_.free_.push_back(std::make_unique<T>());
            object_ = std::move(pool_.free_.back());
            pool_.free_.pop_back();
        }
        ~Loan() {
            const std::lock_guard<std::mutex> lock(pool_.mutex_);
            pool_.free_.push_back(std::move(object_));
        }
        T& operator*() { return *object_; }
        T* operator->() { return object_.get(); }

    private:
        Pool& pool_;
        std::unique_ptr<T> object_;
    };

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<T>> free_;
};
