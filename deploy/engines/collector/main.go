// Command collector is an OpenTelemetry Collector with the components that `traces collector-config` writes
// configurations for, and a few more for what people add to them. It is what the tests run; any distribution that has them will do.
package main

import (
	"log"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/routingconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/loadbalancingexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/attributesprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/redactionprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/transformprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/forwardconnector"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/debugexporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// byType makes the table that a Collector looks its components up in.
func byType[F component.Factory](made ...F) map[component.Type]F {
	found := make(map[component.Type]F, len(made))
	for _, one := range made {
		found[one.Type()] = one
	}
	return found
}

func factories() (otelcol.Factories, error) {
	return otelcol.Factories{
		Receivers: byType[receiver.Factory](otlpreceiver.NewFactory()),
		Processors: byType[processor.Factory](
			attributesprocessor.NewFactory(),
			batchprocessor.NewFactory(),
			filterprocessor.NewFactory(),
			memorylimiterprocessor.NewFactory(),
			redactionprocessor.NewFactory(),
			tailsamplingprocessor.NewFactory(),
			transformprocessor.NewFactory(),
		),
		Exporters: byType[exporter.Factory](
			debugexporter.NewFactory(),
			loadbalancingexporter.NewFactory(),
			otlpexporter.NewFactory(),
			otlphttpexporter.NewFactory(),
			prometheusexporter.NewFactory(),
		),
		Connectors: byType[connector.Factory](
			forwardconnector.NewFactory(),
			routingconnector.NewFactory(),
			spanmetricsconnector.NewFactory(),
		),
		Extensions: byType[extension.Factory](healthcheckextension.NewFactory()),
		Telemetry:  otelconftelemetry.NewFactory(),
	}, nil
}

func main() {
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "collector",
			Description: "OpenTelemetry Collector for the configurations of go-cache-safeguard",
			Version:     "0.140.1",
		},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{envprovider.NewFactory(), fileprovider.NewFactory()},
				DefaultScheme:     "env",
			},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}
