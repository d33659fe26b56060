package image

import (
	"fmt"
	"strings"
)

// DefaultQualifier names the resources of an AWS environment that `cdk bootstrap`
// prepared without a qualifier of its own.
const DefaultQualifier = "hnb659fds"

// Reference is the name of the image in the registry that `cdk bootstrap` made:
// repository and digest ("sha256:…"), never a tag, so that a running service
// cannot change under its name.
//
// The repository is that of the bootstrap template, ContainerAssetsRepository in
// bootstrap-template.yaml of github.com/aws/aws-cdk-cli; the host is that of
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html.
func Reference(account, region, qualifier, digest string) string {
	repository := fmt.Sprintf("cdk-%s-container-assets-%s-%s", qualifier, account, region)
	return fmt.Sprintf("%s.dkr.ecr.%s.%s/%s@%s", account, region, suffix(region), repository, digest)
}

// suffix is the domain of AWS in the partition of a region.
func suffix(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "amazonaws.com.cn"
	case strings.HasPrefix(region, "eusc-"):
		return "amazonaws.eu"
	}
	return "amazonaws.com"
}
