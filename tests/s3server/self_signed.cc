// WriteSelfSigned of tls.h.
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>

#include "s3server/tls.h"

namespace ckptfs::s3server {
namespace {

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;

KeyPtr NewKey() { return KeyPtr(EVP_EC_gen("P-256"), &EVP_PKEY_free); }

bool AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)>
      extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value),
                &X509_EXTENSION_free);
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A certificate of `key` named `name`, without extensions, not signed yet.
CertificatePtr NewCertificate(EVP_PKEY* key, const char* name) {
  constexpr long kTenDays = 10L * 24 * 3600;
  constexpr long kOneHour = 3600;
  CertificatePtr certificate(X509_new(), &X509_free);
  std::uint64_t serial = 0;
  if (!certificate ||
      RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial)) !=
          1 ||
      X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()),
                              serial >> 1) != 1 ||
      // Clocks of test machines differ a little.
      !X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kOneHour) ||
      !X509_gmtime_adj(X509_getm_notAfter(certificate.get()), kTenDays) ||
      X509_set_pubkey(certificate.get(), key) != 1 ||
      X509_NAME_add_entry_by_txt(
          X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
          reinterpret_cast<const unsigned char*>(name), -1, -1, 0) != 1) {
    certificate.reset();
  }
  return certificate;
}

struct CloseFile {
  void operator()(FILE* file) const { ::fclose(file); }
};

template <class WriteTo>
bool WritePem(const std::string& path, mode_t mode, WriteTo write_to) {
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return false;
  const std::unique_ptr<FILE, CloseFile> file(::fdopen(fd, "w"));
  if (!file) {
    ::close(fd);
    return false;
  }
  return write_to(file.get()) == 1 && ::fflush(file.get()) == 0;
}

}  // namespace

tl::expected<void, std::string> WriteSelfSigned(const std::string& directory) {
  const KeyPtr ca_key = NewKey();
  const KeyPtr key = NewKey();
  if (!ca_key || !key) {
    return tl::unexpected(std::string("cannot make a key"));
  }
  const CertificatePtr ca = NewCertificate(ca_key.get(), "s3server test CA");
  const CertificatePtr leaf = NewCertificate(key.get(), "localhost");
  if (!ca || !leaf ||
      X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get())) != 1 ||
      X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca.get())) != 1 ||
      !AddExtension(ca.get(), ca.get(), NID_basic_constraints,
                    "critical,CA:TRUE") ||
      !AddExtension(ca.get(), ca.get(), NID_key_usage,
                    "critical,keyCertSign,cRLSign") ||
      !AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash") ||
      !AddExtension(leaf.get(), ca.get(), NID_basic_constraints,
                    "critical,CA:FALSE") ||
      !AddExtension(leaf.get(), ca.get(), NID_ext_key_usage, "serverAuth") ||
      !AddExtension(leaf.get(), ca.get(), NID_authority_key_identifier,
                    "keyid") ||
      !AddExtension(leaf.get(), ca.get(), NID_subject_alt_name,
                    "DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1") ||
      X509_sign(ca.get(), ca_key.get(), EVP_sha256()) == 0 ||
      X509_sign(leaf.get(), ca_key.get(), EVP_sha256()) == 0) {
    ERR_clear_error();
    return tl::unexpected(std::string("cannot make a certificate"));
  }
  if (!WritePem(directory + "/ca.pem", 0644,
                [&](FILE* file) { return PEM_write_X509(file, ca.get()); }) ||
      !WritePem(directory + "/cert.pem", 0644,
                [&](FILE* file) { return PEM_write_X509(file, leaf.get()); }) ||
      !WritePem(directory + "/key.pem", 0600, [&](FILE* file) {
        return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0,
                                    nullptr, nullptr);
      })) {
    return tl::unexpected("cannot write certificates to " + directory);
  }
  return {};
}

}  // namespace ckptfs::s3server
