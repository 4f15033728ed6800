// An echo server over Asio, as its documentation would have it: a handler for each completion, one buffer per connection.
// Arguments: listener's descriptor, threads, bytes received at once, one in so many handlers sleeps (0: none), milliseconds.
#include <asio.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

using asio::ip::tcp;

static std::size_t room = 4096;
static std::uint64_t slow_one_in = 0, slow_ms = 0;

static void handle() {
    if (slow_one_in == 0) return;
    thread_local std::uint64_t state = 0x2545F4914F6CDD1D ^ reinterpret_cast<std::uintptr_t>(&state);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if ((state >> 32) % slow_one_in == 0) std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms));
}

class Connection : public std::enable_shared_from_this<Connection> {
public:
    explicit Connection(tcp::socket socket) : socket_(std::move(socket)), buffer_(room) {}

    void receive() {
        socket_.async_read_some(asio::buffer(buffer_), [self = shared_from_this()](std::error_code error, std::size_t bytes) {
            if (error) return;
            handle();
            self->send(bytes);
        });
    }

private:
    void send(std::size_t bytes) {
        asio::async_write(socket_, asio::buffer(buffer_.data(), bytes),
                          [self = shared_from_this()](std::error_code error, std::size_t) {
                              if (!error) self->receive();
                          });
    }

    tcp::socket socket_;
    std::vector<char> buffer_;
};

static void accept(tcp::acceptor& acceptor) {
    acceptor.async_accept([&acceptor](std::error_code error, tcp::socket socket) {
        if (!error) {
            socket.set_option(tcp::no_delay(true), error);
            std::make_shared<Connection>(std::move(socket))->receive();
        }
        accept(acceptor);
    });
}

int main(int argc, char** argv) {
    if (argc < 6) return 2;
    const int threads = std::atoi(argv[2]);
    room = std::strtoull(argv[3], nullptr, 10);
    slow_one_in = std::strtoull(argv[4], nullptr, 10);
    slow_ms = std::strtoull(argv[5], nullptr, 10);
    // The hint of one thread lets Asio leave its locks out.
    asio::io_context context(threads);
    tcp::acceptor acceptor(context);
    acceptor.assign(tcp::v4(), std::atoi(argv[1]));
    accept(acceptor);
    std::vector<std::thread> others;
    for (int n = 1; n < threads; ++n) others.emplace_back([&context] { context.run(); });
    context.run();
    for (auto& other : others) other.join();
}
