#include "gpukernels.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>

#include <ATen/ops/empty.h>

namespace valence::gpu {
namespace {

std::string source, learn_source;

// Library is a shared library, which stays loaded.
class Library {
 public:
  explicit Library(const char *name) : handle(dlopen(name, RTLD_NOW | RTLD_GLOBAL)) { TORCH_CHECK(handle, dlerror()); }
  template <class F>
  void find(F &f, const char *name) const {
    f = reinterpret_cast<F>(dlsym(handle, name));
    TORCH_CHECK(f, dlerror());
  }

 private:
  void *handle;
};

// Driver is what is used of CUDA's driver. Types are those of cuda.h, its handles plain pointers.
struct Driver {
  int (*init)(unsigned);
  int (*device)(int *, int ordinal);
  int (*attribute)(int *, int attribute, int device);
  int (*context)(void **context);
  int (*retain)(void **context, int device);
  int (*use)(void *context);
  int (*load)(void **module, const void *image);
  int (*function)(void **function, void *module, const char *name);
  int (*launch)(void *function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, void *stream, void **args, void **extra);
  int (*begin)(void *stream, int mode);
  int (*end)(void *stream, void **graph);
  int (*instantiate)(void **made, void *graph, unsigned long long flags);
  int (*free_graph)(void *graph);
  int (*free_instance)(void *made);
  int (*replay)(void *made, void *stream);
  int (*describe)(int error, const char **text);

  Driver() {
    Library cuda("libcuda.so.1");
    cuda.find(init, "cuInit");
    cuda.find(device, "cuDeviceGet");
    cuda.find(attribute, "cuDeviceGetAttribute");
    cuda.find(context, "cuCtxGetCurrent");
    cuda.find(retain, "cuDevicePrimaryCtxRetain");
    cuda.find(use, "cuCtxSetCurrent");
    cuda.find(load, "cuModuleLoadData");
    cuda.find(function, "cuModuleGetFunction");
    cuda.find(launch, "cuLaunchKernel");
    cuda.find(begin, "cuStreamBeginCapture_v2");
    cuda.find(end, "cuStreamEndCapture");
    cuda.find(instantiate, "cuGraphInstantiateWithFlags");
    cuda.find(free_graph, "cuGraphDestroy");
    cuda.find(free_instance, "cuGraphExecDestroy");
    cuda.find(replay, "cuGraphLaunch");
    cuda.find(describe, "cuGetErrorString");
    check(init(0), "init");
  }
  void check(int error, const char *what) const {
    if (error == 0) return;
    const char *text = nullptr;
    describe(error, &text);
    TORCH_CHECK(false, "CUDA: ", what, ": ", text ? text : "unknown error", " (", error, ")");
  }
  static const Driver &get() {
    static const Driver driver;
    return driver;
  }
};

// compiled is a source as machine code for a compute capability, by NVRTC.
std::string compiled(const std::string &source, int capability, int64_t width) {
  // NVRTC looks for its builtins by this name, where only this program's own paths may have it.
  dlopen("libnvrtc-builtins.so.13.0", RTLD_NOW | RTLD_GLOBAL);
  Library nvrtc("libnvrtc.so.13");
  int (*create)(void **, const char *, const char *, int, const char *const *, const char *const *);
  int (*compile)(void *, int, const char *const *);
  int (*size_of)(void *, size_t *), (*log_size)(void *, size_t *);
  int (*read)(void *, char *), (*log)(void *, char *), (*destroy)(void **);
  nvrtc.find(create, "nvrtcCreateProgram");
  nvrtc.find(compile, "nvrtcCompileProgram");
  nvrtc.find(size_of, "nvrtcGetCUBINSize");
  nvrtc.find(read, "nvrtcGetCUBIN");
  nvrtc.find(log_size, "nvrtcGetProgramLogSize");
  nvrtc.find(log, "nvrtcGetProgramLog");
  nvrtc.find(destroy, "nvrtcDestroyProgram");

  void *program = nullptr;
  TORCH_CHECK(create(&program, source.c_str(), "kernels.cu", 0, nullptr, nullptr) == 0, "NVRTC: no program");
  std::string arch = "--gpu-architecture=sm_" + std::to_string(capability), wide = "-DWIDTH=" + std::to_string(width);
  const char *options[] = {arch.c_str(), wide.c_str(), "--std=c++17"};
  int error = compile(program, 3, options);
  size_t size = 0;
  std::string made, said;
  if (error == 0 && size_of(program, &size) == 0) {
    made.resize(size);
    error = read(program, made.data());
  } else if (log_size(program, &size) == 0) {
    said.resize(size);
    log(program, said.data());
  }
  destroy(&program);
  TORCH_CHECK(error == 0 && !made.empty(), "NVRTC: kernels for sm_", capability, ": error ", error, ": ", said);
  return made;
}

// enter makes a device's own context the calling thread's, which may be one of libtorch's that go back through a model.
void enter(int device) {
  const auto &driver = Driver::get();
  void *context = nullptr;
  driver.check(driver.context(&context), "context");
  if (context) return;
  int handle = 0;
  driver.check(driver.device(&handle, device), "device");
  driver.check(driver.retain(&context, handle), "context");
  driver.check(driver.use(context), "context");
}

c10::impl::VirtualGuardImpl cuda() { return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA); }

const char *const kNames[] = {"valence_embed",     "valence_norm",       "valence_scale",     "valence_gate",           "valence_attend",
                              "valence_scores",    "valence_sum",        "valence_logits",    "valence_norm_back",      "valence_scale_back",
                              "valence_drop",      "valence_gate_back", "valence_attend_queries", "valence_attend_keys"};
static_assert(std::size(kNames) == std::size_t(Kernel::kCount));

// Emulator runs the kernels of a library on the CPU.
struct Emulator {
  int64_t (*width)() = nullptr;
  void (*run)(const char *name, int64_t x, int64_t y, int64_t z, unsigned threads, void **args) = nullptr;
};
Emulator emulator;

std::mutex kernels_lock;
std::map<std::pair<int, int64_t>, std::unique_ptr<Kernels>> all_kernels;

}  // namespace

void *stream(int device) {
  if (device < 0) return nullptr;
  auto guard = cuda();
  return guard.getStreamNativeHandle(guard.getStream(c10::Device(c10::DeviceType::CUDA, device)));
}

void emulate(const char *path) {
  Emulator made;
  if (path) {
    Library library(path);
    library.find(made.width, "valence_emulated_width");
    library.find(made.run, "valence_emulated_run");
  }
  emulator = made;
}

namespace {

// capability is a device's compute capability, such as 90.
int capability(int device) {
  const auto &driver = Driver::get();
  int handle = 0, major = 0, minor = 0;
  driver.check(driver.device(&handle, device), "device");
  driver.check(driver.attribute(&major, 75, handle), "compute capability");  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
  driver.check(driver.attribute(&minor, 76, handle), "compute capability");  // and _MINOR
  return 10 * major + minor;
}

}  // namespace

bool capable(int device) {
  if (device < 0) return emulator.run;
  static std::mutex lock;
  static std::map<int, bool> known;
  std::lock_guard held(lock);
  auto at = known.find(device);
  if (at == known.end()) at = known.emplace(device, capability(device) >= 80).first;
  return at->second;
}

void use_stream(int device, bool urgent) {
  thread_local std::map<std::pair<int, bool>, c10::Stream> streams;
  c10::Device there(c10::DeviceType::CUDA, device);
  c10::DeviceGuard guard(there);
  auto at = streams.find({device, urgent});
  if (at == streams.end()) {
    at::empty({1}, at::TensorOptions(there));  // makes libtorch's context the thread's
    at = streams.emplace(std::make_pair(device, urgent), cuda().getStreamFromGlobalPool(there, urgent)).first;
  }
  cuda().exchangeStream(at->second);
}

void synchronize(int device) {
  if (device >= 0) cuda().synchronizeDevice(c10::DeviceIndex(device));
}

void keep_sources(const std::string &common, const std::string &kernels, const std::string &learn) {
  source = common + kernels;
  learn_source = common + learn;
}

Kernels::Kernels(int device, int64_t width) : device(device), width(width) {
  if (device >= 0) load(source, Kernel::kEmbed, Kernel::kLearn);
}

// load compiles and loads kernels from first to before end.
void Kernels::load(const std::string &source, Kernel first, Kernel end) const {
  const auto &driver = Driver::get();
  auto code = compiled(source, capability(device), width);
  void *module = nullptr;
  driver.check(driver.load(&module, code.data()), "load kernels");
  for (auto i = std::size_t(first); i < std::size_t(end); i++) driver.check(driver.function(&functions[i], module, kNames[i]), kNames[i]);
}

const Kernels &Kernels::of(int device, int64_t width) {
  TORCH_CHECK(device >= 0 || (capable(device) && emulator.width() == width), "gpu: kernels for heads of ", width, " on a CPU");
  std::lock_guard held(kernels_lock);
  auto &kernels = all_kernels[{device, width}];
  if (!kernels) kernels = std::make_unique<Kernels>(device, width);
  return *kernels;
}

const Kernels &Kernels::any(int device) {
  {
    std::lock_guard held(kernels_lock);
    auto at = all_kernels.lower_bound({device, 0});
    if (at != all_kernels.end() && at->first.first == device && at->second) return *at->second;
  }
  return of(device, device < 0 ? emulator.width() : 64);
}

void Kernels::launch(Kernel kernel, Grid grid, unsigned threads, void **args) const {
  if (device < 0) return emulator.run(kNames[std::size_t(kernel)], grid.x, grid.y, grid.z, threads, args);
  enter(device);
  if (kernel >= Kernel::kLearn) std::call_once(learns, [&] { load(learn_source, Kernel::kLearn, Kernel::kCount); });
  const auto &driver = Driver::get();
  driver.check(driver.launch(functions[std::size_t(kernel)], grid.x, grid.y, grid.z, threads, 1, 1, 0, stream(device), args, nullptr), "launch");
}

int64_t allocations(int device) { return device < 0 ? 0 : c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(device).allocation[0].allocated; }

Record::Record(int device, std::function<void()> queue) : device(device) {
  if (device < 0) {
    queue();
    again = std::move(queue);
    return;
  }
  const auto &driver = Driver::get();
  auto *on = stream(device);
  driver.check(driver.begin(on, 2), "record");  // CU_STREAM_CAPTURE_MODE_RELAXED: other threads may go on
  void *recorded = nullptr;
  try {
    queue();
  } catch (...) {
    if (driver.end(on, &recorded) == 0 && recorded) driver.free_graph(recorded);
    throw;
  }
  driver.check(driver.end(on, &recorded), "record");
  int error = driver.instantiate(&graph, recorded, 0);
  driver.free_graph(recorded);
  driver.check(error, "record");
}

Record::~Record() {
  if (graph) Driver::get().free_instance(graph);
}

void Record::replay() const {
  if (again) return again();
  Driver::get().check(Driver::get().replay(graph, stream(device)), "replay");
}

}  // namespace valence::gpu
