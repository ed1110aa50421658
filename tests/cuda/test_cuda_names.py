"""PyTorch's names for CUDA: streams, memory, older types, settings; with a device (a stand-in) and without one."""

import pytest
import stand_in

import livegrad

cuda = livegrad.cuda


@pytest.fixture
def pretended():
    with stand_in.in_use():
        yield


def test_streams_belong_to_devices(pretended):
    stream = cuda.Stream(1)
    assert stream.device == livegrad.device("cuda:1") and "cuda:1" in repr(stream)
    with cuda.stream(stream):
        assert cuda.current_device() == 1 and cuda.current_stream() == stream
        event = stream.record_event()
    assert cuda.current_device() == 0 and cuda.current_stream() == cuda.default_stream() != stream
    event.synchronize()
    assert cuda.Event().query()  # nothing has been recorded, so nothing is waited for
    cuda.Event().synchronize()
    with pytest.raises(RuntimeError, match="must be recorded"):
        cuda.Event(enable_timing=True).elapsed_time(cuda.Event(enable_timing=True))
    cuda.set_stream(stream)
    try:
        assert cuda.current_device() == 1 and cuda.current_stream() == stream
        assert livegrad.ones(2, device="cuda").device == stream.device
    finally:
        cuda.set_stream(cuda.default_stream(1))
        cuda.set_device(0)
    same = cuda.ExternalStream(stream.cuda_stream, 1)
    assert (
        same == stream and hash(same) == hash(stream) and cuda.get_stream_from_external(stream.cuda_stream, 1) == stream
    )
    with cuda.stream(None):
        assert cuda.current_device() == 0


def test_memory(pretended):
    before = cuda.memory_stats()
    x = livegrad.ones(1 << 18, device="cuda")
    livegrad.eval(x)
    after = cuda.memory_stats()
    assert after["allocated_bytes.all.current"] - before["allocated_bytes.all.current"] == 1 << 20
    assert after["allocation.all.current"] - before["allocation.all.current"] == 1
    told = cuda.memory_summary()
    assert "float32 [262144]" in told and "test_cuda_names.py" in told and "1.00 GiB" in told
    assert "test_cuda_names.py" not in cuda.memory_summary(abbreviated=True)
    del x
    cuda.reset_accumulated_memory_stats()
    stats = cuda.memory_stats()
    assert stats["allocation.all.allocated"] == stats["allocation.all.current"] and stats["allocation.all.freed"] == 0
    assert cuda.mem_get_info() == (1 << 29, 1 << 30)
    cuda.set_per_process_memory_fraction(0.5)
    assert stand_in.get_default_memory_pool().limit == 0.5
    with pytest.raises(ValueError, match="Allowed range"):
        cuda.set_per_process_memory_fraction(1.5)
    with pytest.raises(TypeError):
        cuda.set_per_process_memory_fraction(1)


def test_what_is_asked_of_devices(pretended):
    assert cuda.can_device_access_peer(0, 1) and not cuda.can_device_access_peer(1, 1)
    assert cuda.is_tf32_supported() and cuda.is_bf16_supported()
    assert cuda.get_arch_list()[0] == "sm_75" and "code=sm_90" in cuda.get_gencode_flags()
    assert [g.device.index for g in cuda.default_generators] == [0, 1] and cuda._initialized
    with cuda.device_of(livegrad.ones(1, device="cuda:1")):
        assert cuda.current_device() == 1
    with cuda.device_of(livegrad.ones(1)):
        assert cuda.current_device() == 0


def test_older_types(pretended):
    x = cuda.FloatTensor([1.0, 2.0])
    assert x.is_cuda and x.dtype is livegrad.float32 and x.tolist() == [1.0, 2.0]
    assert cuda.LongTensor(2, 3).shape == (2, 3) and cuda.HalfTensor(2).is_cuda
    assert isinstance(x, cuda.FloatTensor) and not isinstance(x, livegrad.FloatTensor)
    assert not isinstance(x.cpu(), cuda.FloatTensor) and isinstance(x.cpu(), livegrad.FloatTensor)
    assert x.type() == "torch.cuda.FloatTensor" and x.cpu().type() == "torch.FloatTensor"
    assert x.cpu().type("torch.cuda.DoubleTensor").type() == "torch.cuda.DoubleTensor"
    assert x.type(livegrad.LongTensor).type() == "torch.LongTensor"
    assert x.cpu().type(cuda.LongTensor).type() == "torch.cuda.LongTensor"
    assert x.type(livegrad.float64).is_cuda and x.new([3, 4]).is_cuda
    with pytest.raises(ValueError, match="invalid type"):
        x.type("cuda.FloatTensor")
    try:
        livegrad.set_default_tensor_type("torch.cuda.DoubleTensor")
        assert livegrad.ones(2).type() == "torch.cuda.DoubleTensor"
        livegrad.set_default_tensor_type(cuda.FloatTensor)
        assert livegrad.ones(2).type() == "torch.cuda.FloatTensor"
        livegrad.set_default_tensor_type(livegrad.FloatTensor)
        assert livegrad.ones(2).type() == "torch.FloatTensor"
    finally:
        livegrad.set_default_dtype(livegrad.float32)
        livegrad.set_default_device(None)


def test_ranges_for_profilers(pretended):
    import stand_in

    stand_in.NOTED.clear()
    with cuda.nvtx.range("step {}", 3):
        assert cuda.nvtx.range_push("inside") == 1
        cuda.nvtx.mark("here")
        assert cuda.nvtx.range_pop() == 1
    assert cuda.nvtx.range_pop() == -1
    cuda.nvtx.range_end(cuda.nvtx.range_start("apart"))
    assert stand_in.NOTED == [
        ("push", "step 3"), ("push", "inside"), ("mark", "here"), ("pop",), ("pop",), ("start", "apart"), ("end", 6)
    ]  # fmt: skip


def test_without_a_device():
    if cuda.is_available():
        pytest.skip("there is one")
    assert cuda.memory_stats() == {} and cuda.get_arch_list() == [] and not cuda.is_tf32_supported()
    assert cuda.memory_cached() == 0 and cuda.default_generators == ()
    for asks in (cuda.memory_summary, cuda.mem_get_info, cuda.Stream, cuda.Event, cuda.current_blas_handle,
                 lambda: cuda.FloatTensor(2), lambda: livegrad.ones(2).type("torch.cuda.FloatTensor"),
                 lambda: livegrad.set_default_tensor_type("torch.cuda.FloatTensor")):  # fmt: skip
        with pytest.raises(RuntimeError, match="cannot use CUDA here"):
            asks()
    with cuda.nvtx.range("nothing"):
        cuda.nvtx.mark("nothing")
        cuda.nvtx.range_end(cuda.nvtx.range_start("nothing"))
    assert not isinstance(livegrad.ones(2), cuda.FloatTensor) and not cuda.is_current_stream_capturing()
    assert cuda.make_graphed_callables(abs, ()) is abs
    cuda.manual_seed_all(0)
    cuda.reset_max_memory_allocated()


def test_ways_of_attention():
    settings = livegrad.backends.cuda
    assert settings.flash_sdp_enabled() and settings.math_sdp_enabled()
    with settings.sdp_kernel(enable_flash=False, enable_mem_efficient=False, enable_cudnn=False):
        assert not settings.flash_sdp_enabled() and not settings.can_use_flash_attention(None)
        assert not settings.attention.fused()
        settings.enable_cudnn_sdp(True)
        assert settings.attention.fused()
    assert settings.flash_sdp_enabled() and settings.mem_efficient_sdp_enabled() and settings.cudnn_sdp_enabled()
    attention = livegrad.nn.attention
    with attention.sdpa_kernel([attention.SDPBackend.MATH]):
        assert not settings.attention.fused() and settings.math_sdp_enabled()
