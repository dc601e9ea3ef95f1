/*
 * SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 the gr-phydnn authors
 *
 * Payloads over TCP and 802.11a in ns-3: two stations in an IBSS, DCF, ns-3's own error
 * models. `phydnn airtime --ns3` builds and runs it; by hand:
 *
 *   g++ -std=c++17 -O2 wifi_tcp.cc
 * -lns3-{core,network,internet,mobility,propagation,wifi}
 *   ./a.out --rate=54 --payload=65536 --snr=20 --repeats=10
 *
 * A line of JSON a payload: seconds from the application's write until the receiver's
 * application has the last byte, and the frames and PSDU bytes of both stations until the
 * medium is quiet again. The connection is open and its congestion window grown before
 * the first one. With --table, the error model's own packet error rates instead.
 */

#include <ns3/boolean.h>
#include <ns3/command-line.h>
#include <ns3/config.h>
#include <ns3/constant-position-mobility-model.h>
#include <ns3/double.h>
#include <ns3/inet-socket-address.h>
#include <ns3/internet-stack-helper.h>
#include <ns3/ipv4-address-helper.h>
#include <ns3/ipv4-interface-container.h>
#include <ns3/mobility-helper.h>
#include <ns3/net-device-container.h>
#include <ns3/nist-error-rate-model.h>
#include <ns3/node-container.h>
#include <ns3/ofdm-phy.h>
#include <ns3/packet.h>
#include <ns3/propagation-loss-model.h>
#include <ns3/rng-seed-manager.h>
#include <ns3/simulator.h>
#include <ns3/string.h>
#include <ns3/tcp-socket-factory.h>
#include <ns3/traffic-control-helper.h>
#include <ns3/uinteger.h>
#include <ns3/wifi-helper.h>
#include <ns3/wifi-mac-helper.h>
#include <ns3/wifi-net-device.h>
#include <ns3/yans-error-rate-model.h>
#include <ns3/yans-wifi-helper.h>
#include <cmath>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>

using namespace ns3;

namespace {

constexpr uint16_t PORT = 9;
constexpr uint32_t WARM_UP_BYTES = 400000;
const Time QUIET = Seconds(1); // longer than any timer of TCP that can be pending

//! Sends payloads one after the other, and tells how long each took.
class sender
{
public:
    sender(uint64_t payload, unsigned repeats) : payload_(payload), repeats_(repeats) {}

    void connect(Ptr<Node> node, Address peer)
    {
        socket_ = Socket::CreateSocket(node, TcpSocketFactory::GetTypeId());
        socket_->SetSendCallback(MakeCallback(&sender::write, this));
        socket_->SetConnectCallback(MakeCallback(&sender::connected, this),
                                    MakeCallback(&sender::refused, this));
        socket_->Connect(peer);
    }

    void received(Ptr<Socket> socket)
    {
        while (Ptr<Packet> packet = socket->Recv())
            arrived_ += packet->GetSize();
        if (arrived_ == size_) {
            seconds_ = (Simulator::Now() - begun_).GetSeconds();
            Simulator::Schedule(QUIET, &sender::finish, this);
        }
    }

    void accepted(Ptr<Socket> socket, const Address&)
    {
        socket->SetRecvCallback(MakeCallback(&sender::received, this));
    }

    void heard(std::string, Ptr<const Packet> packet, double)
    {
        ++frames_;
        bytes_ += packet->GetSize();
    }

    bool done() const { return finished_ == repeats_; }

private:
    void connected(Ptr<Socket>) { begin(WARM_UP_BYTES); }
    void refused(Ptr<Socket>) { Simulator::Stop(); }

    void begin(uint64_t size)
    {
        size_ = size;
        arrived_ = written_ = frames_ = bytes_ = 0;
        begun_ = Simulator::Now();
        write(socket_, socket_->GetTxAvailable());
    }

    void write(Ptr<Socket> socket, uint32_t room)
    {
        while (written_ < size_ && room > 0) {
            const auto chunk = std::min<uint64_t>(room, size_ - written_);
            const int accepted = socket->Send(Create<Packet>(chunk));
            if (accepted <= 0)
                break;
            written_ += accepted;
            room = socket->GetTxAvailable();
        }
    }

    void finish()
    {
        if (warm_) {
            ++finished_;
            std::cout << "{\"seconds\": " << std::setprecision(12) << seconds_
                      << ", \"frames\": " << frames_ << ", \"bytes_on_air\": " << bytes_
                      << "}\n";
        }
        warm_ = true;
        if (done())
            Simulator::Stop();
        else
            begin(payload_);
    }

    const uint64_t payload_;
    const unsigned repeats_;
    Ptr<Socket> socket_;
    bool warm_ = false;
    unsigned finished_ = 0;
    uint64_t size_ = 0, written_ = 0, arrived_ = 0, frames_ = 0, bytes_ = 0;
    Time begun_;
    double seconds_ = 0;
};

std::string mode_name(unsigned rate)
{
    return "OfdmRate" + std::to_string(rate) + "Mbps";
}

//! Packet error rates of MPDUs, as the DATA field's SERVICE bits, MPDU and tail have
//! them.
void print_table(Ptr<ErrorRateModel> model, unsigned rate, const std::string& sizes)
{
    const WifiMode mode(mode_name(rate));
    const WifiTxVector vector(
        mode, 0, WIFI_PREAMBLE_LONG, 800, 1, 1, 0, 20, false, false, false);
    std::istringstream list(sizes);
    for (std::string size; std::getline(list, size, ',');) {
        const uint64_t bits = 16 + 8 * std::stoull(size) + 6;
        for (int half = -10; half <= 70; ++half) {
            const double snr_db = 0.5 * half;
            const double success = model->GetChunkSuccessRate(
                mode, vector, std::pow(10.0, snr_db / 10.0), bits);
            std::cout << "{\"rate\": " << rate << ", \"bytes\": " << size
                      << ", \"snr_db\": " << snr_db
                      << ", \"per\": " << std::setprecision(12) << 1.0 - success << "}\n";
        }
    }
}

} // namespace

int main(int argc, char** argv)
{
    unsigned rate = 54, repeats = 10, seed = 1, mtu = 1500;
    uint64_t payload = 65536;
    double snr_db = 100, deadline_s = 36000;
    std::string model_name = "nist", table;
    CommandLine command(__FILE__);
    command.AddValue("rate", "of data frames, Mb/s", rate);
    command.AddValue("payload", "bytes a transfer", payload);
    command.AddValue("repeats", "transfers", repeats);
    command.AddValue("snr", "dB, signal over noise in 20 MHz", snr_db);
    command.AddValue("seed", "of the random numbers", seed);
    command.AddValue("mtu", "bytes of an IP packet", mtu);
    command.AddValue("model", "of errors: nist or yans", model_name);
    command.AddValue("deadline", "simulated seconds at most", deadline_s);
    command.AddValue(
        "table", "MPDU bytes, with commas: print error rates and end", table);
    command.Parse(argc, argv);

    const std::string model_type =
        model_name == "yans" ? "ns3::YansErrorRateModel" : "ns3::NistErrorRateModel";
    if (!table.empty()) {
        OfdmPhy::GetOfdmRate(6000000); // registers the modes
        Ptr<ErrorRateModel> model;
        if (model_name == "yans")
            model = CreateObject<YansErrorRateModel>();
        else
            model = CreateObject<NistErrorRateModel>();
        print_table(model, rate, table);
        return 0;
    }

    RngSeedManager::SetSeed(seed);
    // 20 bytes of IP, 20 of TCP and its 12 of timestamps.
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(mtu - 52));
    Config::SetDefault("ns3::TcpSocket::DelAckCount", UintegerValue(2));
    Config::SetDefault("ns3::WifiRemoteStationManager::RtsCtsThreshold",
                       UintegerValue(4095));

    NodeContainer nodes(2);
    YansWifiChannelHelper channel;
    channel.SetPropagationDelay("ns3::ConstantSpeedPropagationDelayModel");
    constexpr double received_dbm = -50;
    channel.AddPropagationLoss(
        "ns3::FixedRssLossModel", "Rss", DoubleValue(received_dbm));
    YansWifiPhyHelper phy;
    phy.SetChannel(channel.Create());
    phy.SetErrorRateModel(model_type);
    phy.DisablePreambleDetectionModel(); // only the error model decides
    // The noise figure makes the SNR: ns-3's noise floor is kTB of 290 K in 20 MHz.
    const double floor_dbm = 10 * std::log10(1.3803e-23 * 290 * 20e6 * 1e3);
    phy.Set("RxNoiseFigure", DoubleValue(received_dbm - snr_db - floor_dbm));
    phy.Set("ChannelSettings", StringValue("{36, 20, BAND_5GHZ, 0}"));

    WifiHelper wifi;
    wifi.SetStandard(WIFI_STANDARD_80211a);
    wifi.SetRemoteStationManager("ns3::ConstantRateWifiManager",
                                 "DataMode",
                                 StringValue(mode_name(rate)),
                                 "ControlMode",
                                 StringValue(mode_name(rate)));
    WifiMacHelper mac;
    mac.SetType("ns3::AdhocWifiMac", "QosSupported", BooleanValue(false));
    const NetDeviceContainer devices = wifi.Install(phy, mac, nodes);

    MobilityHelper mobility;
    mobility.SetMobilityModel("ns3::ConstantPositionMobilityModel");
    mobility.Install(nodes);

    InternetStackHelper internet;
    internet.Install(nodes);
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.255.0");
    const Ipv4InterfaceContainer interfaces = addresses.Assign(devices);
    // Frames wait in the MAC's queue alone, as without a queueing discipline.
    TrafficControlHelper().Uninstall(devices);

    sender source(payload, repeats);
    auto listener = Socket::CreateSocket(nodes.Get(1), TcpSocketFactory::GetTypeId());
    listener->Bind(InetSocketAddress(Ipv4Address::GetAny(), PORT));
    listener->Listen();
    listener->SetAcceptCallback(MakeNullCallback<bool, Ptr<Socket>, const Address&>(),
                                MakeCallback(&sender::accepted, &source));
    Config::Connect("/NodeList/*/DeviceList/*/$ns3::WifiNetDevice/Phy/PhyTxBegin",
                    MakeCallback(&sender::heard, &source));
    Simulator::Schedule(Seconds(0.5), [&] {
        source.connect(nodes.Get(0), InetSocketAddress(interfaces.GetAddress(1), PORT));
    });
    Simulator::Stop(Seconds(deadline_s));
    Simulator::Run();
    Simulator::Destroy();
    if (!source.done()) {
        std::cerr << "only part of the payload arrived within " << deadline_s
                  << " simulated seconds\n";
        return 1;
    }
    return 0;
}
