// Files of torch.save in every way that it saves them (goldens of torch 2.13), and malformed ones, one row a class: P13
// to P15, P24 to P27 and P32 to P38 of the list of malformed files.
#include "caravan/formats/torch_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "caravan/base/error.h"
#include "caravan/base/file.h"
#include "caravan/base/temporary_folder.h"
#include "caravan/formats/broken_archive.h"

namespace caravan::formats {
namespace {

using namespace broken;

const std::string kGolden = CARAVAN_SOURCE_DIR "/tests/golden/torch_checkpoint/";

std::vector<std::string> names_of(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const TensorInfo& tensor : checkpoint.tensors()) names.push_back(tensor.name);
  return names;
}

std::vector<float> floats(const Checkpoint& checkpoint, const std::string& name) {
  const TensorBytes bytes = checkpoint.read(name);
  std::vector<float> values(bytes.bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.bytes.data(), bytes.bytes.size());
  return values;
}

using Names = std::vector<std::string>;

TEST(TorchCheckpoint, EveryWayOfSavingGivesEqualBits) {
  const auto expected = Checkpoint::open(kGolden + "expected.safetensors");
  for (const std::string name : {"zip.bin", "zip_protocol4.pth", "stream.bin", "stream_protocol4.pt"}) {
    SCOPED_TRACE(name);
    const auto torch = Checkpoint::open(kGolden + name);
    EXPECT_EQ(torch->format(), "torch");
    EXPECT_EQ(torch->tensors().size(), expected->tensors().size());
    for (const TensorInfo& wanted : expected->tensors()) {
      const TensorInfo* info = torch->find(wanted.name);
      ASSERT_NE(info, nullptr) << wanted.name;
      EXPECT_EQ(info->dtype, wanted.dtype) << wanted.name;
      EXPECT_EQ(info->shape, wanted.shape) << wanted.name;
      EXPECT_TRUE(std::ranges::equal(torch->read(wanted.name).bytes, expected->read(wanted.name).bytes)) << wanted.name;
    }
    auto& concrete = dynamic_cast<TorchCheckpoint&>(*torch);
    EXPECT_TRUE(concrete.foreign_globals().empty());
    concrete.verify();
  }
}

TEST(TorchCheckpoint, ContiguousTensorsAreReadWhereTheyLie) {
  const auto torch = Checkpoint::open(kGolden + "zip.bin");
  EXPECT_EQ(torch->read("tied_a").bytes.data(), torch->read("tied_b").bytes.data());
  EXPECT_EQ(torch->read("offset").bytes.data(), torch->read("f32").bytes.data() + 5 * sizeof(float));
}

TEST(TorchCheckpoint, TheStateDictIsFoundBesideOtherThings) {
  const auto wrapped = Checkpoint::open(kGolden + "wrapped.pth");
  EXPECT_EQ(names_of(*wrapped), (Names{"weight", "half"}));
  EXPECT_EQ(floats(*wrapped, "weight"), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(dynamic_cast<TorchCheckpoint&>(*wrapped).foreign_globals(), (Names{"__main__.HyperParameters"}));
  EXPECT_EQ(names_of(*Checkpoint::open(kGolden + "lightning.ckpt")), (Names{"model.weight"}));
  EXPECT_EQ(names_of(*Checkpoint::open(kGolden + "nested.pt")),
            (Names{"encoder.weight", "encoder.half", "decoder.block.weight", "decoder.block.half"}));
}

TEST(TorchCheckpoint, APickledModuleGivesItsParametersAndBuffers) {
  const auto module = Checkpoint::open(kGolden + "module.pt");
  EXPECT_EQ(names_of(*module), (Names{"linear.weight", "linear.bias", "model.0.weight", "model.0.bias",
                                      "model.0.running_mean", "model.0.running_var", "model.0.num_batches_tracked"}));
}

TEST(TorchCheckpoint, BigEndianFilesAreSwapped) {
  const auto little = Checkpoint::open(kGolden + "little.bin"), big = Checkpoint::open(kGolden + "big_endian.bin");
  for (const char* name : {"weight", "half"})
    EXPECT_TRUE(std::ranges::equal(little->read(name).bytes, big->read(name).bytes)) << name;
}

TEST(TorchCheckpoint, FilesWithoutChecksumsAreRead) {
  EXPECT_EQ(names_of(*Checkpoint::open(kGolden + "no_checksums.bin")), (Names{"weight", "half"}));
}

TEST(TorchCheckpoint, AnUnknownNameIsNotFound) {
  const auto torch = Checkpoint::open(kGolden + "little.bin");
  try {
    (void)torch->read("bias");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_found);
  }
}

// --- malformed files ----------------------------------------------------------------------------------------------

class TorchFiles : public testing::Test {
 protected:
  FileFault fault_of(const std::string& bytes) {
    message_ = "no error";
    write_file(folder_ / "x.pth", bytes);
    try {
      const auto checkpoint = Checkpoint::open(folder_ / "x.pth");
      for (const TensorInfo& tensor : checkpoint->tensors()) (void)checkpoint->read(tensor.name);
    } catch (const Error& e) {
      message_ = e.what();
      return e.fault();
    }
    return FileFault::none;
  }
  FileFault fault_of_pickle(const std::string& body) { return fault_of(Archive(torch_records(body)).bytes); }

  Unsynced fast_;
  TemporaryFolder folder_;
  std::string message_;
};

TEST_F(TorchFiles, TheBuilderItselfMakesAReadableFile) {
  EXPECT_EQ(fault_of_pickle(dict({{"w", tensor()}})), FileFault::none) << message_;
  EXPECT_EQ(floats(*Checkpoint::open(folder_ / "x.pth"), "w").size(), 4u);
}

TEST_F(TorchFiles, EveryMalformedArchiveHasItsFault) {
  const auto records = torch_records(dict({{"w", tensor()}}));
  const auto changed = [&](auto change) {
    auto copy = records;
    change(copy);
    return Archive(copy).bytes;
  };
  const std::pair<std::string, FileFault> cases[] = {
      {"", FileFault::truncated},
      {"neither zip nor torch's stream", FileFault::magic},
      {"\x80\x02}q.", FileFault::magic},                                       // a pickle, but not torch's
      {changed([](auto& r) { r.erase(r.begin()); }), FileFault::layout},       // P13 no data.pkl
      {changed([](auto& r) { r[3].name = "b/version"; }), FileFault::layout},  // P14 two roots
      {changed([](auto& r) { r[3].name = "version"; }), FileFault::layout},    // P14 no root
      {changed([](auto& r) { r[1].data = "middle"; }), FileFault::layout},     // P15
      {changed([](auto& r) { r[3].data = "11"; }), FileFault::version},
      {changed([](auto& r) { r[3].data = "x"; }), FileFault::version},
      {changed([](auto& r) {
         r.push_back({"a/.format_version", "2"});
       }),
       FileFault::version},
      {changed([](auto& r) {
         r.push_back({"a/constants.pkl", "x"});
       }),
       FileFault::unsupported},
      {changed([](auto& r) { r[2].name = "a/data/1"; }), FileFault::layout},                // storage without a record
      {changed([](auto& r) { r[2].data.pop_back(); }), FileFault::layout},                  // P34
      {changed([](auto& r) { r[2].data.push_back('x'); }), FileFault::layout},              // P34
      {changed([](auto& r) { r[2].method = 8; }), FileFault::unsupported},                  // compressed tensor data
      {std::string(257, '\0') + "ustar" + std::string(250, '\0'), FileFault::unsupported},  // P38
  };
  for (size_t i = 0; i < std::size(cases); ++i)
    EXPECT_EQ(to_string(fault_of(cases[i].first)), to_string(cases[i].second)) << i << ": " << message_;
}

TEST_F(TorchFiles, EveryMalformedTensorHasItsFault) {
  struct Case {
    const char* name;
    FileFault fault;
    StoredTensor tensor;
  };
  const Case cases[] = {
      {"P32 storage key ../0", FileFault::path, {.key = "../0"}},
      {"P32 storage key with a folder", FileFault::path, {.key = "x/0"}},
      {"P33 numel -1", FileFault::overflow, {.numel = -1}},
      {"P33 numel 2^62", FileFault::overflow, {.numel = 1ll << 62}},
      {"P34 numel 3 of 4", FileFault::layout, {.numel = 3}},
      {"P34 numel 5 of 4", FileFault::layout, {.numel = 5}},
      {"P35 size beyond the storage", FileFault::layout, {.shape = {3, 2}}},
      {"P35 stride beyond the storage", FileFault::layout, {.stride = {3, 1}}},
      {"P35 offset beyond the storage", FileFault::layout, {.offset = 1}},
      {"P35 offset -1", FileFault::layout, {.offset = -1}},
      {"P35 stride overflows", FileFault::overflow, {.stride = {std::numeric_limits<int64_t>::max(), 1}}},
      {"P35 numel overflows", FileFault::overflow, {.shape = {1ll << 40, 1ll << 40}, .stride = {0, 0}}},
      {"P36 negative stride", FileFault::layout, {.stride = {-2, 1}}},
      {"negative size", FileFault::range, {.shape = {-2, 2}}},
      {"more strides than sizes", FileFault::layout, {.stride = {2, 1, 1}}},
      {"17 dimensions",
       FileFault::limit,
       {.shape = std::vector<int64_t>(17, 1), .stride = std::vector<int64_t>(17, 1)}},
      {"2^40 elements from one", FileFault::limit, {.shape = {1ll << 40}, .stride = {0}}},
      {"P37 unknown storage type", FileFault::type, {.storage_type = "MadeUpStorage"}},
      {"complex numbers",
       FileFault::unsupported,
       {.storage_type = "ComplexFloatStorage", .numel = 2, .shape = {2}, .stride = {1}}},
      {"untyped storage in _v2", FileFault::type, {.storage_type = "UntypedStorage", .numel = 16}},
  };
  for (const Case& c : cases)
    EXPECT_EQ(to_string(fault_of_pickle(dict({{"w", tensor(c.tensor)}}))), to_string(c.fault))
        << c.name << ": " << message_;
}

TEST_F(TorchFiles, EveryMalformedRecordHasItsFault) {
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2"), shape = integers({2, 2});
  const std::pair<std::string, FileFault> cases[] = {
      {dict({{"w", tensor() + "NNs"}}), FileFault::type},  // P27
      {dict({{"w", tensor() + "}b"}}), FileFault::type},   // P26
      {dict({{"w", rebuild + ")R"}}), FileFault::type},
      {dict({{"w", rebuild + tuple({"N", integer(0), shape, shape}) + "R"}}), FileFault::type},
      {dict({{"w", rebuild + tuple({storage({}), text("0"), shape, shape}) + "R"}}), FileFault::type},
      {dict({{"w", rebuild + tuple({storage({}), integer(0), text("4"), shape}) + "R"}}), FileFault::type},
      {dict({{"w", global("torch._utils", "_rebuild_sparse_tensor") + ")R"}}), FileFault::unsupported},
      {dict({{"w", global("torch._utils", "_rebuild_parameter") + "(NtR"}}), FileFault::type},
      {dict({{"w", tuple({text("storage"), text("x")}) + "Q"}}), FileFault::type},
      {dict({{"w", tuple({text("module"), "N", text("0"), text("cpu"), integer(4)}) + "Q"}}), FileFault::type},
      {dict({{"w", text("0") + "Q"}}), FileFault::type},  // P31
      {dict({{"w", tensor()}, {"w", tensor()}}), FileFault::duplicate},
      {dict({{"w\xff", tensor()}}), FileFault::utf8},
      {dict({{std::string(5000, 'n'), tensor()}}), FileFault::limit},
  };
  for (size_t i = 0; i < std::size(cases); ++i)
    EXPECT_EQ(to_string(fault_of_pickle(cases[i].first)), to_string(cases[i].second)) << i << ": " << message_;
}

TEST_F(TorchFiles, CodeIsReportedAndNeverRun) {  // P24, P25
  const std::string marker = folder_ / "marker";
  const std::string attack = global("os", "system") + tuple({text("touch " + marker)}) + "R";
  EXPECT_EQ(fault_of_pickle(dict({{"w", tensor()}, {"evil", attack}})), FileFault::none) << message_;
  const auto checkpoint = Checkpoint::open(folder_ / "x.pth");
  EXPECT_EQ(names_of(*checkpoint), Names{"w"});
  EXPECT_EQ(dynamic_cast<TorchCheckpoint&>(*checkpoint).foreign_globals(), Names{"os.system"});
  EXPECT_EQ(fault_of_pickle(attack), FileFault::none) << message_;
  EXPECT_TRUE(Checkpoint::open(folder_ / "x.pth")->tensors().empty());
  EXPECT_FALSE(file_exists(marker));
}

TEST_F(TorchFiles, SharedDictsAreNotWalkedForEver) {  // 2^40 tensors where walked as a tree
  std::string body = dict({{"w", tensor()}});
  for (int i = 0; i < 40; ++i) {
    const std::string memo = "q" + little(static_cast<uint64_t>(i), 1),
                      recall = "h" + little(static_cast<uint64_t>(i), 1);
    body += memo + "0" + dict({{"a", recall}, {"b", recall}});
  }
  EXPECT_EQ(fault_of_pickle(body), FileFault::limit) << message_;
}

TEST_F(TorchFiles, StreamsAreCheckedToTheirEnd) {
  const std::string bytes = read_file(kGolden + "stream.bin");
  for (size_t n = 0; n < bytes.size(); n += n < 600 ? 1 : 37)
    EXPECT_NE(fault_of(bytes.substr(0, n)), FileFault::none) << n;
  std::string other = bytes;
  other[other.find("\x4d\xe9\x03") + 1] = 0;  // protocol 1001
  EXPECT_EQ(fault_of(other), FileFault::version) << message_;
}

// --- shards -------------------------------------------------------------------------------------------------------

TEST_F(TorchFiles, ShardNamesMayNotLeaveTheFolder) {
  for (const char* name : {"../little.bin", "/etc/passwd", "a/b.bin", ".."}) {
    const Json index = {{"metadata", Json::object()}, {"weight_map", {{"w", name}}}};
    write_file(folder_ / "pytorch_model.bin.index.json", dump_json(index));
    try {
      (void)Checkpoint::open(folder_.path());
      FAIL() << name;
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), FileFault::path) << name << ": " << e.what();
    }
  }
}

TEST_F(TorchFiles, ShardsAndIndexMustAgree) {
  std::filesystem::copy(kGolden + "little.bin", folder_ / "a.bin");
  const auto fault_with = [&](const Json& map) {
    write_file(folder_ / "pytorch_model.bin.index.json", dump_json({{"weight_map", map}}));
    try {
      (void)Checkpoint::open(folder_.path());
    } catch (const Error& e) {
      return e.fault();
    }
    return FileFault::none;
  };
  EXPECT_EQ(fault_with({{"weight", "a.bin"}, {"half", "a.bin"}}), FileFault::none);
  EXPECT_EQ(fault_with({{"weight", "a.bin"}}), FileFault::layout);
  EXPECT_EQ(fault_with({{"weight", "a.bin"}, {"half", "a.bin"}, {"bias", "a.bin"}}), FileFault::layout);
  std::filesystem::copy(kGolden + "little.bin", folder_ / "b.bin");
  EXPECT_EQ(fault_with({{"weight", "a.bin"}, {"half", "b.bin"}}), FileFault::duplicate);
}

}  // namespace
}  // namespace caravan::formats
